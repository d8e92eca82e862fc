"""The number of attention heads is compared where a checkpoint says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmvitssl.checkpoint import CheckpointError, load_encoder
from mmvitssl.models.backbones import DenseFeatures, SwinTransformer, ViT

SWIN = dict(embed_dim=8, depths=(1, 1), num_heads=(2, 4))


def arch(heads: int) -> dict[str, Any]:
    return dict(embed_dim=32, depth=2, num_heads=heads)


def save(path: Path, encoder: torch.nn.Module, settings: dict[str, Any] | None, where: str) -> Path:
    """As MMEngine saves: the config as text, or the entry that our conversion writes."""
    content: dict[str, Any] = {
        "state_dict": {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    }
    if where == "cfg":
        text = Config(dict(model=dict(type="Pretrainer", encoder=settings))).pretty_text
        content["meta"] = {"cfg": text}
    elif where == "encoder":
        content["meta"] = {"encoder": settings}
    torch.save(content, path)
    return path


@pytest.mark.parametrize("where", ["cfg", "encoder"])
def test_other_heads_are_an_error_in_words(where: str, tmp_path: Path) -> None:
    settings = dict(type="ViT", arch=arch(4), image_size=32)
    path = save(tmp_path / "last.pth", ViT(arch(4), 32), settings, where)
    for model in (
        ViT(arch(2), 32),
        DenseFeatures(dict(type="ViT", arch=arch(2), image_size=32), levels=(0, 1)),
    ):
        before = {key: value.clone() for key, value in model.state_dict().items()}
        with pytest.raises(
            CheckpointError, match=r"last\.pth was trained with 4 .* has 2: set num"
        ):
            load_encoder(model, path)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    load_encoder(ViT(arch(4), 32), path)


def test_named_architectures_and_stages_are_compared(tmp_path: Path) -> None:
    settings = dict(type="ViT", arch=dict(base="small", embed_dim=32, depth=2, num_heads=1))
    path = save(tmp_path / "vit.pth", ViT(arch(2), 32), settings, "cfg")
    with pytest.raises(CheckpointError, match="trained with 1 attention heads, this model has 2"):
        load_encoder(ViT(arch(2), 32), path)
    settings = dict(type="mmvitssl.SwinTransformer", arch=dict(SWIN, num_heads=(1, 4)))
    path = save(tmp_path / "swin.pth", SwinTransformer(SWIN, window_size=4), settings, "cfg")
    with pytest.raises(CheckpointError, match="trained with 1-4 .*this model has 2-4"):
        load_encoder(SwinTransformer(SWIN, window_size=4), path)


@pytest.mark.parametrize("settings", [None, dict(type="ViT"), dict(type="ViT", arch="vast")])
def test_files_that_do_not_say_pass(settings: dict[str, Any] | None, tmp_path: Path) -> None:
    where = "cfg" if settings else "nowhere"
    path = save(tmp_path / "last.pth", ViT(arch(4), 32), settings, where)
    load_encoder(ViT(arch(2), 32), path)
