"""Safe and strict loading, with real files."""

from __future__ import annotations

import pickle
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from mmvitssl.checkpoint import (
    CheckpointError,
    check_weights_file,
    load_encoder,
    load_file,
    load_strict,
)
from mmvitssl.models.backbones import DenseFeatures, ViT
from tests.builders import ENCODER, build_repre

BARE = {key: value for key, value in ENCODER.items() if key != "type"}


class Malicious:
    """Unpickling this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_online_and_target_encoders_are_taken_out(tmp_path: Path) -> None:
    model = build_repre()
    torch.nn.init.normal_(model.encoder.cls_token)
    path = save(tmp_path / "epoch_1.pth", {"state_dict": model.state_dict()})
    for source, expected in (("online", model.encoder), ("target", model.target["encoder"])):
        encoder = ViT(**BARE)
        report = load_encoder(encoder, path, source)
        for name, value in expected.state_dict().items():
            assert torch.equal(encoder.state_dict()[name], value)
        assert sorted(report.loaded) == sorted(encoder.state_dict())
        assert any(name.startswith("tasks.") for name in report.left_out)
        assert "Left out" in report.summary() and str(path) in report.summary()


def test_dense_backbone_and_a_detectors_checkpoint(tmp_path: Path) -> None:
    model = build_repre()
    path = save(tmp_path / "pretrained.pth", {"state_dict": model.state_dict()})
    dense = DenseFeatures(ENCODER, levels=(1, 3))
    load_encoder(dense, path)
    images = torch.randn(1, 3, 32, 48)
    expected = model.encoder.eval()(images, levels=(3,)).hierarchy[3]
    torch.testing.assert_close(dense.eval()(images)[1].flatten(2).transpose(1, 2), expected)
    detector = {f"backbone.{name}": value for name, value in dense.state_dict().items()}
    again = save(tmp_path / "detector.pth", {"state_dict": {**detector, "neck.w": torch.ones(1)}})
    report = load_encoder(DenseFeatures(ENCODER, levels=(1, 3)), again)
    assert report.left_out == ["neck.w"]


def test_positions_are_resized_and_said_so(tmp_path: Path) -> None:
    source = ViT(**{**BARE, "position": "learned"})
    path = save(tmp_path / "encoder.pth", source.state_dict())
    encoder = ViT(**{**BARE, "position": "learned", "image_size": (64, 96)})
    report = load_encoder(encoder, path)
    guess = "; the file does not say its grid, which is guessed from the number of rows"
    assert report.resized == ["pos_embed 4x6 -> 8x12 (bicubic)" + guess]
    assert "Resized pos_embed 4x6 -> 8x12" in report.summary()
    torch.testing.assert_close(encoder.pos_embed, source.resized_position((8, 12)))


def test_pretraining_only_tokens_may_stay_in_the_file_and_are_named(tmp_path: Path) -> None:
    source = ViT(**BARE, mask_token=True, prefix_tokens=("rotation",))
    path = save(tmp_path / "encoder.pth", source.state_dict())
    report = load_encoder(ViT(**BARE), path)
    assert report.not_needed == ["mask_token", "prefix_tokens.rotation"]
    assert "Not needed by this encoder: mask_token" in report.summary()


def test_missing_keys_are_listed(tmp_path: Path) -> None:
    state = ViT(**BARE).state_dict()
    del state["blocks.2.attn.qkv.weight"], state["norm.bias"]
    path = save(tmp_path / "encoder.pth", state)
    with pytest.raises(CheckpointError, match="misses 2 of .*blocks.2.attn.qkv.weight, norm.bias"):
        load_encoder(ViT(**BARE), path)


def test_unknown_keys_are_listed(tmp_path: Path) -> None:
    state = {**ViT(**BARE).state_dict(), "blocks.0.attn.rpe": torch.ones(1)}
    path = save(tmp_path / "encoder.pth", state)
    with pytest.raises(CheckpointError, match="does not know 1 of its keys: blocks.0.attn.rpe"):
        load_encoder(ViT(**BARE), path)


def test_another_architecture_is_refused_with_both_shapes(tmp_path: Path) -> None:
    wider = ViT(**{**BARE, "arch": dict(embed_dim=64, depth=4, num_heads=2)})
    path = save(tmp_path / "encoder.pth", wider.state_dict())
    with pytest.raises(CheckpointError, match=r"another shape: cls_token \(1, 1, 64\) in the file"):
        load_encoder(ViT(**BARE), path)
    deeper = ViT(**{**BARE, "arch": dict(embed_dim=32, depth=5, num_heads=2)})
    path = save(tmp_path / "deeper.pth", deeper.state_dict())
    with pytest.raises(CheckpointError, match=r"no place: blocks.4"):
        load_encoder(ViT(**BARE), path)


def test_target_must_exist(tmp_path: Path) -> None:
    path = save(tmp_path / "encoder.pth", ViT(**BARE).state_dict())
    with pytest.raises(CheckpointError, match="no target encoder"):
        load_encoder(ViT(**BARE), path, source="target")


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"\x80\x04garbage", b"PK\x03\x04 no"]
)
def test_files_that_are_no_checkpoints(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=str(path)):
        load_encoder(ViT(**BARE), path)


def test_checkpoint_without_weights(tmp_path: Path) -> None:
    path = save(tmp_path / "empty.pth", {"meta": {"epoch": 1}})
    with pytest.raises(CheckpointError, match="holds no weights.*'meta'"):
        load_encoder(ViT(**BARE), path)
    with pytest.raises(CheckpointError, match="holds a list"):
        load_file(save(tmp_path / "list.pth", [torch.ones(1)]))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_file(tmp_path / "nothing.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, legacy: bool) -> None:
    path, trap = tmp_path / "trap.pth", tmp_path / "ran"
    content = {"state_dict": ViT(**BARE).state_dict(), "extra": Malicious(trap)}
    if legacy:
        path.write_bytes(pickle.dumps({"extra": Malicious(trap)}))
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError):
        load_file(path)
    with pytest.raises(CheckpointError):  # MMEngine's own loader, as resume uses it
        CheckpointLoader.load_checkpoint(str(path), map_location="cpu")
    assert not trap.exists()


def test_files_without_end_are_refused(tmp_path: Path) -> None:
    """A dict that holds itself, and records that unpack to far more than the file has."""
    itself: dict[str, Any] = {}
    itself["model"] = itself
    torch.save(itself, tmp_path / "itself.pth")
    with pytest.raises(CheckpointError, match=r"itself\.pth is nested more than 64 times"):
        load_file(tmp_path / "itself.pth")
    torch.save({"state_dict": {}}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in plain.namelist():
            more = bytes(2**27) if name.endswith("data.pkl") else b""
            bomb.writestr(name, plain.read(name) + more)
    with pytest.raises(CheckpointError, match=r"bomb\.pth is damaged: .* decompression bomb"):
        load_file(tmp_path / "bomb.pth")


def test_mmengines_histories_are_read(tmp_path: Path) -> None:
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    history.update(3.0)
    path = save(tmp_path / "epoch_1.pth", {"message_hub": {"log_scalars": {"train/loss": history}}})
    read = load_file(path)["message_hub"]["log_scalars"]["train/loss"]
    assert read.mean(3) == 2.0


def test_load_strict_lists_what_differs(tmp_path: Path) -> None:
    model = build_repre()
    state = model.state_dict()
    path = save(tmp_path / "whole.pth", {"state_dict": state})
    other = build_repre()
    load_strict(other, path)
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())
    del state["target.updates"]
    with pytest.raises(CheckpointError, match="misses 1 of .*target.updates"):
        load_strict(other, save(tmp_path / "less.pth", {"state_dict": state}))


def test_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    encoder = ViT(**BARE)
    path = tmp_path / "encoder.safetensors"
    save_file({k: v.contiguous() for k, v in encoder.state_dict().items()}, str(path))
    report = load_encoder(ViT(**BARE), path)
    assert len(report.loaded) == len(encoder.state_dict())


@pytest.mark.parametrize(
    "settings",
    [
        dict(),
        dict(qkv_bias="qv"),
        dict(qkv_bias="qv", layer_scale=0.1),
        dict(qkv_bias="qv", layer_scale=0.1, position="none", relative_position="shared_bias"),
        dict(layer_scale=0.1, position="none", relative_position="block_bias"),
        dict(position="none", relative_position="irpe"),
        dict(prefix_tokens=("contrast", "rotation")),
    ],
)
def test_an_encoder_saved_by_itself_loads(settings: dict[str, Any], tmp_path: Path) -> None:
    """``torch.save(encoder.state_dict(), ...)`` of any kind; some look like other formats."""
    arch = dict(embed_dim=32, depth=2, num_heads=2)
    saved, fresh = (ViT(arch, image_size=32, patch_size=8, **settings) for _ in range(2))
    for parameter in saved.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.save(saved.state_dict(), tmp_path / "encoder.pth")
    load_encoder(fresh, tmp_path / "encoder.pth")
    for key, value in saved.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[key]), key


def test_refused_objects_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "trap.pth", {"state_dict": {}, "extra": Malicious(tmp_path / "ran")})
    with pytest.raises(CheckpointError, match=r"\(pathlib\.Path\.touch|\(pathlib\.Path|getattr"):
        load_file(path)
    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps({"x": Fraction(1, 2)}))
    with pytest.raises(CheckpointError, match=r"\(fractions\.Fraction\)"):
        load_file(plain)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_an_error_with_their_names(
    value: float, tmp_path: Path
) -> None:
    model = build_repre()
    with torch.no_grad():
        model.encoder.blocks[1].mlp.fc1.bias[:3] = value
    path = save(tmp_path / "last.pth", {"state_dict": model.state_dict()})
    for load in (lambda: load_encoder(ViT(**BARE), path), lambda: load_strict(build_repre(), path)):
        with pytest.raises(CheckpointError, match=r"NaN or infinite: .*fc1\.bias \(3 of 128\)"):
            load()
    load_encoder(ViT(**BARE), path, "target")  # whose weights are sound


@pytest.mark.parametrize(
    "name, words",
    [
        ("s3://bucket/mae.pth", r"is an address that is not read here"),
        ("torchvision://resnet50", "is an address"),
        (
            "vit_base_patch16_224.mae",
            r"name of a model, .*timm\.create_model\('vit_base_patch16_224",
        ),
        ("timm/vit_base_patch16_224", "name of a model"),
    ],
)
def test_what_is_no_file_is_told_with_what_would_do(name: str, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        check_weights_file(name, "--pretrained")


def test_folders_and_misspelt_files_say_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "epoch_100.pth").touch()
    with pytest.raises(CheckpointError, match=r"is a folder: .*epoch_100\.pth"):
        check_weights_file(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"Did you mean epoch_100\.pth"):
        check_weights_file(tmp_path / "epoch_10.pth")
