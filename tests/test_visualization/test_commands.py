"""`mmvitssl visualize` as it is typed: every method, every kind of encoder, ADE20K's folders."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmvitssl.cli import visualize
from mmvitssl.engine.errors import UserError
from mmvitssl.models.tokenizers import DiscreteVAE, save_tokenizer
from mmvitssl.registry import MODELS
from mmvitssl.visualization import embedding, patches
from tests.test_benchmark.small import tiny_config
from tests.test_checkpoint.test_self_described import official

SMALL = dict(embed_dim=24, depth=2, num_heads=3)
STAGES = dict(embed_dim=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 6))
ENCODERS: dict[str, dict[str, Any]] = {
    "vit": dict(type="ViT", arch=SMALL, image_size=32, patch_size=8),
    "swin": dict(type="SwinTransformer", arch=STAGES, image_size=64, window_size=4),
    "timm": dict(
        type="TimmBackbone", model="vit_tiny_patch16_224", image_size=64, model_args=dict(depth=1)
    ),
    "timm-stages": dict(
        type="TimmBackbone", model="convnext_atto", image_size=64,
        model_args=dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)),
    ),
}  # fmt: skip
# pictures beside the original, which all share
DRAWN = {
    "mae": 2, "lomar": 2, "simmim": 2, "repre-mocov3": 1, "cae": 4, "beit": 3, "lomar-beit": 3,
}  # fmt: skip


def save_pretraining(path: Path, method: str, tokenizer: Path) -> str:
    """A checkpoint of a whole pretraining model, small and untrained."""
    settings = tiny_config(method).model.to_dict()
    settings["encoder"]["arch"]["depth"] = 4
    for task in settings["tasks"].values():
        if task.get("target", {}).get("type") == "TokenTarget":
            task["target"].update(checkpoint=str(tokenizer), vocabulary=16)
    state = MODELS.build(settings).state_dict()
    config = f"model = {settings!r}"
    torch.save({"state_dict": state, "meta": {"cfg": config}}, path)
    return str(path)


def save_encoder(path: Path, encoder: dict[str, Any]) -> str:
    state = {f"encoder.{k}": v for k, v in MODELS.build(encoder).state_dict().items()}
    config = f"model = dict(type='Pretrainer', encoder={encoder!r})"
    torch.save({"state_dict": state, "meta": {"cfg": config}}, path)
    return str(path)


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    random = np.random.default_rng(0)
    for number in range(2):
        pixels = random.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return [str(tmp_path / f"{number}.png") for number in range(2)]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def typed(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["visualize", *map(str, words)])
        visualize.main()

    return typed


@pytest.fixture
def checkpoint_of(tmp_path: Path) -> Callable[[str], str]:
    """Writes the checkpoint of an encoder; DINOv3's in its official layout."""

    def write(name: str) -> str:
        path = tmp_path / f"{name}.pth"
        if name == "dinov3":
            official("dinov3", path)
            return str(path)
        return save_encoder(path, ENCODERS[name])

    return write


@pytest.mark.parametrize("name", [*ENCODERS, "dinov3"])
def test_patches_of_every_kind_of_encoder(
    name: str, tmp_path: Path, images: list[str], checkpoint_of: Any, run: Callable[..., None]
) -> None:
    out = tmp_path / "sheet.png"
    run("patches", checkpoint_of(name), *images, "--clusters", 3, "--out", out)
    width, height = Image.open(out).size
    assert width > 4 * 32 and height > 2 * 32


@pytest.mark.parametrize("name", ["vit", "dinov3"])
def test_attention_of_every_vit(
    name: str, tmp_path: Path, images: list[str], checkpoint_of: Any, run: Callable[..., None]
) -> None:
    run("attention", checkpoint_of(name), images[0], "--size", 40, "--out", tmp_path / "maps")
    assert Image.open(tmp_path / "maps/0.png").size[0] > 300


@pytest.mark.parametrize("name", ["swin", "timm", "timm-stages"])
def test_encoders_without_attention_maps_say_so(
    name: str, tmp_path: Path, images: list[str], checkpoint_of: Any, run: Callable[..., None]
) -> None:
    with pytest.raises(UserError, match="Pictures of attention need a ViT"):
        run("attention", checkpoint_of(name), images[0], "--out", tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_every_method_on_one_sheet(
    tmp_path: Path, images: list[str], run: Callable[..., None]
) -> None:
    torch.manual_seed(0)
    tokenizer = save_tokenizer(
        DiscreteVAE(vocabulary=16, hidden=8, codes=4, blocks=1), tmp_path / "dvae.safetensors"
    )
    paths = {
        name: save_pretraining(tmp_path / f"{name}.pth", name, tokenizer)
        for name in (*DRAWN, "mocov3")
    }
    out = tmp_path / "sheet.png"
    run("compare", *images, "--checkpoints", *(paths[name] for name in DRAWN), "--out", out)
    columns = 1 + sum(DRAWN.values())
    assert Image.open(out).size[0] == columns * 128 + 4 * (columns - 1)
    run("compare", *images, "--attention", "--checkpoints", paths["mae"], paths["mocov3"],
        "--out", out)  # fmt: skip
    assert Image.open(out).size[0] == 5 * 128 + 4 * 4  # original, two of MAE, two of attention
    with pytest.raises(UserError, match=r"No task draws pictures: .* --attention draws"):
        run("compare", *images, "--checkpoints", paths["mocov3"], "--out", out)


def test_patches_are_mapped_by_ade20ks_labels(
    tmp_path: Path, run: Callable[..., None], checkpoint_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CAE's figure: masks of ADE20K, where 0 is no class and 1 to 150 are classes."""
    random = np.random.default_rng(0)
    for number in range(3):
        name = f"ADE_val_0000000{number}"
        pixels = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        mask = np.zeros((48, 64), np.uint8)
        mask[:, :24], mask[:, 24:48] = 1, 150
        for folder, picture, ending in (("images", pixels, "jpg"), ("annotations", mask, "png")):
            (tmp_path / "ade" / folder / "validation").mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / f"ade/{folder}/validation/{name}.{ending}")
    out = tmp_path / "map.png"
    drawn: dict[str, Any] = {}

    def keep(points: Any, labels: Any, path: Path, title: str, classes: Any) -> Path:
        drawn.update(names=sorted({classes[label] for label in labels}))
        return embedding.draw_embedding(points, labels, path, title, classes)

    monkeypatch.setattr(patches, "draw_embedding", keep)
    run("patch-embedding", checkpoint_of("vit"), tmp_path / "ade/images/validation",
        tmp_path / "ade/annotations/validation", "--ade20k", "--out", out)  # fmt: skip
    assert Image.open(out).size[0] > 300 and drawn["names"] == ["flag", "wall"]
