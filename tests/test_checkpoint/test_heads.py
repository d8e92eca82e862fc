"""What a file says of its encoder: heads, grid and normalisation are used or compared."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmvitssl.checkpoint import CheckpointError, load_encoder
from mmvitssl.checkpoint.convert import import_file
from mmvitssl.models.backbones import DenseFeatures, SwinTransformer, ViT
from mmvitssl.registry import MODELS
from tests.test_checkpoint.test_layouts import hugging_face

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
def test_files_that_do_not_say_pass_with_a_line(
    settings: dict[str, Any] | None, tmp_path: Path
) -> None:
    where = "cfg" if settings else "nowhere"
    path = save(tmp_path / "last.pth", ViT(arch(4), 32), settings, where)
    report = load_encoder(ViT(arch(2), 32), path)
    assert "does not say its number of attention heads: read with 2" in report.summary()


def small(heads: int) -> ViT:
    return ViT(dict(base="small", depth=1, num_heads=heads), 32, 8)


def official(method: str) -> dict[str, Any]:
    """A ViT-S as the official programs save it, which is wide as published and one block deep."""
    state = small(6).state_dict()
    if method.startswith("mocov3"):
        content: dict[str, Any] = {
            "state_dict": {f"module.base_encoder.{k}": v for k, v in state.items()}
        }
        return {**content, "arch": "vit_small"} if method == "mocov3-arch" else content
    if method == "dino":
        return {
            part: {f"backbone.{k}": v for k, v in state.items()} for part in ("student", "teacher")
        }
    if method == "deit":
        return {"model": state, "args": argparse.Namespace(model="deit_small_patch16_224")}
    return {"state_dict": state, "arch": "vit_small_patch16_224"}  # timm's train.py


@pytest.mark.parametrize(
    "method, heads",
    [("mocov3", 12), ("mocov3-arch", 12), ("dino", 6), ("deit", 6), ("timm", 6)],
)
def test_official_files_of_vit_small_say_their_heads(
    method: str, heads: int, tmp_path: Path
) -> None:
    path = tmp_path / "f.pth"
    torch.save(official(method), path)
    with pytest.raises(CheckpointError, match=rf"{heads} attention heads.*num_heads={heads}\)"):
        load_encoder(small(18 - heads), path)
    assert "does not say" not in load_encoder(small(heads), path).summary()
    import_file(path, tmp_path / "ours.pth")
    with pytest.raises(CheckpointError, match=f"{heads} attention heads"):
        load_encoder(small(18 - heads), tmp_path / "ours.pth")


@pytest.mark.parametrize("method, part", [("dino", "teacher"), ("mocov3", "online")])
def test_without_a_source_the_encoder_that_the_authors_evaluate_is_taken(
    method: str, part: str, tmp_path: Path
) -> None:
    students, teachers = small(6).state_dict(), small(6).state_dict()
    if method == "dino":
        content: dict[str, Any] = {
            "student": {f"module.backbone.{k}": v for k, v in students.items()},
            "teacher": {f"backbone.{k}": v for k, v in teachers.items()},
            "dino_loss": {"center": torch.zeros(1, 8)},
        }
    else:
        content = {"state_dict": {
            **{f"module.base_encoder.{k}": v for k, v in students.items()},
            **{f"module.momentum_encoder.{k}": v for k, v in teachers.items()},
        }}  # fmt: skip
    torch.save(content, tmp_path / "f.pth")
    expected = {"teacher": teachers, "online": students}[part]
    encoder = small(6 if method == "dino" else 12)
    report = load_encoder(encoder, tmp_path / "f.pth")
    assert all(torch.equal(v, expected[k]) for k, v in encoder.state_dict().items())
    assert ("DINO's teacher" in report.source) == (part == "teacher")
    for source, state in (("online", students), ("target", teachers)):
        load_encoder(encoder, tmp_path / "f.pth", source)
        assert torch.equal(encoder.cls_token, state["cls_token"])
        assert torch.equal(encoder.patch_embed.proj.weight, state["patch_embed.proj.weight"])


def test_a_guess_of_the_heads_is_said(tmp_path: Path) -> None:
    path = tmp_path / "bare.pth"
    torch.save(small(6).state_dict(), path)
    summary = load_encoder(small(12), path).summary()
    assert "read with 12 (most published models of this width have 6)" in summary


def test_config_json_of_transformers_is_read(tmp_path: Path) -> None:
    state = hugging_face(small(6).state_dict())
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text('{"num_attention_heads": 6, "image_size": 32}')
    with pytest.raises(CheckpointError, match=r"6 attention heads.*config\.json"):
        load_encoder(small(12), tmp_path / "pytorch_model.bin")


def test_the_grid_that_the_file_says_is_used(tmp_path: Path) -> None:
    """64 patches: 4 x 16 in the file, and as many in a square model."""
    settings = dict(type="ViT", arch=arch(2), image_size=(32, 128), patch_size=8)
    source = ViT(arch(2), (32, 128), 8)
    torch.nn.init.normal_(source.pos_embed)
    path = save(tmp_path / "last.pth", source, settings, "cfg")
    encoder = ViT(arch(2), 64, 8)
    report = load_encoder(encoder, path)
    assert report.resized == ["pos_embed 4x16 -> 8x8 (bicubic)"]
    torch.testing.assert_close(encoder.pos_embed, source.resized_position((8, 8)))
    wide = ViT(arch(2), (32, 128), 8)
    assert load_encoder(wide, path).resized == []
    assert torch.equal(wide.pos_embed, source.pos_embed)


def test_the_grid_of_bias_tables_that_the_file_says_is_used(tmp_path: Path) -> None:
    """(2 x 2 - 1)(2 x 8 - 1) = 45 = (2 x 3 - 1)(2 x 5 - 1): the rows do not tell the grid."""
    how = dict(position="none", relative_position="shared_bias")
    source = ViT(arch(2), (16, 64), 8, **how)
    torch.nn.init.normal_(source.rel_pos_bias.relative_position_bias_table)
    settings = dict(type="ViT", arch=arch(2), image_size=(16, 64), patch_size=8, **how)
    path = save(tmp_path / "last.pth", source, settings, "cfg")
    encoder = ViT(arch(2), (24, 40), 8, **how)
    assert "2x8 -> 3x5" in load_encoder(encoder, path).resized[0]


NORMAL = dict(mean=[0.5] * 3, std=[0.25] * 3)


def pretrained(path: Path, preprocessor: dict[str, Any] | None) -> Path:
    encoder = dict(type="ViT", arch=arch(2), image_size=32)
    model: dict[str, Any] = dict(type="Pretrainer", encoder=encoder)
    if preprocessor is not None:
        model["data_preprocessor"] = dict(type="ViewPreprocessor", **preprocessor)
    state = {f"encoder.{k}": v for k, v in ViT(arch(2), 32).state_dict().items()}
    torch.save({"state_dict": state, "meta": {"cfg": Config(dict(model=model)).pretty_text}}, path)
    return path


@pytest.mark.parametrize(
    "theirs, own, differ",
    [(NORMAL, NORMAL, False), (NORMAL, None, True), (None, None, False), (None, NORMAL, True)],
)
def test_other_normalisation_is_a_warning_with_both_values(
    theirs: dict[str, Any] | None, own: dict[str, Any] | None, differ: bool, tmp_path: Path
) -> None:
    path, said = pretrained(tmp_path / "last.pth", theirs), list[str]()
    preprocessor = None if own is None else dict(type="ViewPreprocessor", **own)
    model = MODELS.build(dict(
        type="ImageClassifier", encoder=dict(type="ViT", arch=arch(2), image_size=32),
        head=dict(type="LinearHead", num_classes=2), data_preprocessor=preprocessor,
    ))  # fmt: skip
    model.load_pretrained(path, log=said.append)
    assert ("normalisation differs" in said[0]) == differ
    assert not differ or ("[0.5, 0.5, 0.5]" in said[0] and "[0.485, 0.456, 0.406]" in said[0])


def test_detectors_normalise_in_other_units(tmp_path: Path) -> None:
    path = pretrained(tmp_path / "last.pth", None)
    detector = SimpleNamespace(mean=torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1),
                               std=torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1))  # fmt: skip
    assert not load_encoder(ViT(arch(2), 32), path, preprocessor=detector).summary().count("WARN")
    detector.std = torch.ones(3, 1, 1)
    assert "WARNING" in load_encoder(ViT(arch(2), 32), path, preprocessor=detector).summary()
