"""Low-rank updates: nothing at the start, alone in training, merged wherever they have no place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from mmvitssl.checkpoint import load_encoder
from mmvitssl.checkpoint.convert import export_file
from mmvitssl.models.backbones import ViT
from mmvitssl.registry import MODELS
from tests.builders import make_samples, make_views

SIZES: dict[str, Any] = dict(
    arch=dict(embed_dim=32, depth=3, num_heads=2), image_size=32, patch_size=8
)
LORA: dict[str, Any] = dict(SIZES, lora_rank=4, lora_alpha=8.0)
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def quiet(line: str) -> None:
    """No log."""


def trained(**settings: Any) -> ViT:
    """An encoder whose updates are no longer zero."""
    torch.manual_seed(0)
    encoder = ViT(**(LORA | settings)).eval()
    for name, parameter in encoder.named_parameters():
        if name.endswith("qkv_lora.b"):
            torch.nn.init.normal_(parameter)
    return encoder


@pytest.mark.parametrize("kind", ["plain", "qv", "rope", "irpe"])
def test_updates_start_from_zero_and_move_alone(kind: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "plain": {}, "qv": dict(qkv_bias="qv"),
        "rope": dict(position="none", relative_position="rope"),
        "irpe": dict(position="none", relative_position="irpe"),
    }[kind]  # fmt: skip
    plain = ViT(**SIZES, **settings).eval()
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    encoder = ViT(**LORA, **settings).eval()
    report = load_encoder(encoder, tmp_path / "plain.pth", log=quiet)
    assert any("3 low-rank updates start from zero" in note for note in report.resized)
    assert torch.equal(encoder(IMAGES).tokens, plain(IMAGES).tokens)
    names = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert names == {f"blocks.{i}.attn.qkv_lora.{part}" for i in range(3) for part in "ab"}
    encoder(IMAGES).tokens.square().sum().backward()
    grads = {name for name, p in encoder.named_parameters() if p.grad is not None}
    assert grads == names


def test_a_plain_encoder_gets_merged_weights(tmp_path: Path) -> None:
    encoder = trained()
    torch.save(encoder.state_dict(), tmp_path / "lora.pth")
    plain = ViT(**SIZES).eval()
    before = plain(IMAGES).tokens
    report = load_encoder(plain, tmp_path / "lora.pth", log=quiet)
    assert any("3 low-rank updates are added" in note for note in report.resized)
    torch.testing.assert_close(plain(IMAGES).tokens, encoder(IMAGES).tokens)
    assert not torch.allclose(plain(IMAGES).tokens, before)
    # another rank: merged, and new ones from zero
    other = ViT(**SIZES, lora_rank=2).eval()
    load_encoder(other, tmp_path / "lora.pth", log=quiet)
    torch.testing.assert_close(other(IMAGES).tokens, encoder(IMAGES).tokens)
    again = ViT(**LORA).eval()
    load_encoder(again, tmp_path / "lora.pth", log=quiet)
    assert torch.equal(again(IMAGES).tokens, encoder(IMAGES).tokens)
    dense = MODELS.build(dict(type="DenseFeatures", encoder=dict(SIZES, type="ViT"), levels=1))
    load_encoder(dense, tmp_path / "lora.pth", log=quiet)
    torch.testing.assert_close(dense(IMAGES)[0], encoder.forward_levels(IMAGES, [2])[2].transpose(
        1, 2).unflatten(2, (4, 4)))  # fmt: skip


def test_exports_are_merged(tmp_path: Path) -> None:
    encoder = trained()
    settings = dict(LORA, type="ViT")
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    config = f"model = dict(type='Pretrainer', encoder={settings!r})"
    torch.save({"meta": dict(cfg=config), "state_dict": state}, tmp_path / "own.pth")
    export_file(tmp_path / "own.pth", tmp_path / "out.pth", "timm", only_encoder=True)
    theirs = timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, img_size=32, patch_size=8, embed_dim=32, depth=3,
        num_heads=2, checkpoint_path=str(tmp_path / "out.pth"),
    ).eval()  # fmt: skip
    torch.testing.assert_close(theirs.forward_features(IMAGES), encoder(IMAGES).tokens)


def test_pretraining_moves_updates_and_new_tokens_alone() -> None:
    settings = dict(LORA, type="ViT", mask_token=True)
    task = dict(
        type="MaskedModeling",
        masking=dict(type="RandomMasking", ratio=0.5, mode="replace"),
        neck=dict(type="TokenPredictor"),
        target=dict(type="PixelTarget"),
        head=dict(type="PixelLoss", distance="l2"),
    )
    torch.manual_seed(0)
    model = MODELS.build(dict(type="Pretrainer", encoder=settings, tasks=dict(masked=task)))
    before = {k: v.clone() for k, v in model.encoder.state_dict().items()}
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    for _ in range(2):  # ``a`` moves once ``b`` is not zero
        losses = model(make_views(1, size=(32, 32)), make_samples(), mode="loss")
        optimizer.zero_grad()
        losses["loss_masked"].backward()
        optimizer.step()
    moved = {k for k, v in model.encoder.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"mask_token"} | {
        f"blocks.{i}.attn.qkv_lora.{part}" for i in range(3) for part in "ab"
    }


def test_a_rank_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="lora_rank=0 must be 1 or more"):
        ViT(**SIZES, lora_rank=0)
