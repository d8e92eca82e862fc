"""Encoders as backbones: Swin Transformers with norms, and what is frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mmvitssl.checkpoint import CheckpointError, load_encoder
from mmvitssl.checkpoint.formats import FORMATS
from mmvitssl.models.backbones import DenseFeatures, SwinTransformer

ARCH = dict(embed_dim=8, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))
SWIN: dict[str, Any] = dict(type="mmvitssl.SwinTransformer", arch=ARCH, window_size=4)
STAGES = (0, 1, 2, 3)


def swin(levels: tuple[int, ...] = STAGES) -> DenseFeatures:
    model = DenseFeatures(SWIN, levels=levels, level_norms=True)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def mmdet_swin() -> torch.nn.Module:
    from mmdet.models.backbones import SwinTransformer as MMDetSwin

    model = MMDetSwin(
        embed_dims=8, window_size=4, depths=ARCH["depths"], num_heads=ARCH["num_heads"],
    )  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.eval()  # mmdet's returns nothing
    return model


def normed(feature: torch.Tensor, norm: torch.nn.Module) -> torch.Tensor:
    tokens = feature.permute(0, 2, 3, 1)
    return F.layer_norm(tokens, tokens.shape[-1:], norm.weight, norm.bias).permute(0, 3, 1, 2)


# 149 x 143: neither patches nor windows nor merging divide it; the last maps exceed a window
@pytest.mark.parametrize("size", [(160, 192), (149, 143)])
def test_maps_of_a_swin_are_mmdets(size: tuple[int, int], tmp_path: Path) -> None:
    theirs, ours = mmdet_swin(), swin()
    state = {f"backbone.{key}": value for key, value in theirs.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "detector.pth")
    report = load_encoder(ours, tmp_path / "detector.pth")
    assert "nothing for norm.weight, norm.bias, which is not used here" in report.summary()
    assert "norms of a detector's or segmentor's levels" in report.summary()
    ours.norms.load_state_dict(
        {f"{i}.{k}": v for i in STAGES for k, v in getattr(theirs, f"norm{i}").state_dict().items()}
    )
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        for mine, expected in zip(ours(images), theirs(images), strict=True):
            assert mine.is_contiguous()
            torch.testing.assert_close(mine, expected, atol=5e-5, rtol=1e-4)


def test_a_bare_swin_needs_the_final_norm_and_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    state = swin().encoder.state_dict()
    whole = {key: value for key, value in state.items() if not key.startswith("norm.")}
    torch.save(whole, tmp_path / "truncated.pth")
    for backbone in (swin(), swin().encoder):
        with pytest.raises(CheckpointError, match="misses 2 of .*: norm.weight, norm.bias"):
            load_encoder(backbone, tmp_path / "truncated.pth")


def test_norms_start_fresh_and_stay_fresh_after_loading(tmp_path: Path) -> None:
    trained = swin().encoder
    torch.save(trained.state_dict(), tmp_path / "encoder.pth")
    model = DenseFeatures(SWIN, levels=STAGES, level_norms=True).eval()
    report = load_encoder(model, tmp_path / "encoder.pth")
    assert len(report.loaded) == len(trained.state_dict())
    images = torch.randn(1, 3, 64, 96)
    raw = trained.eval()(images, levels=STAGES).hierarchy
    for level, norm, feature in zip(STAGES, model.norms, model(images), strict=True):
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
        assert torch.equal(norm.bias, torch.zeros_like(norm.bias))
        torch.testing.assert_close(feature, normed(raw[level], norm))


@pytest.mark.parametrize("levels", [STAGES, (0, 2)])
def test_what_a_swin_does_not_run_is_frozen(levels: tuple[int, ...]) -> None:
    model = swin(levels).train()
    weights = torch.randn(2, 64, 16, 16)  # a plain sum behind a norm has no gradient
    maps = model(torch.randn(2, 3, 64, 64))
    sum((x * weights[:, : x.shape[1], : x.shape[2], : x.shape[3]]).sum() for x in maps).backward()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, p in model.named_parameters() if p.grad is None}
    behind = () if levels == STAGES else ("encoder.layers.3.",)
    assert all(name.startswith(("encoder.norm.", *behind)) for name in frozen)
    assert len(frozen) > 0


def test_layers_for_learning_rate_decay() -> None:
    model = swin()
    last = sum(ARCH["depths"]) + 2
    assert model.get_layer_depth("encoder.patch_embed.proj.weight") == (0, last)
    assert model.get_layer_depth("encoder.layers.1.blocks.0.norm1.weight") == (3, last)
    assert model.get_layer_depth("norms.0.weight") == (last - 1, last)


def test_levels_that_do_not_exist_are_named() -> None:
    with pytest.raises(ValueError, match=r"levels=\(0, 4\) do not all exist.*0\.\.3.*stages"):
        DenseFeatures(SWIN, levels=(0, 4))


def test_export_to_mmdet_leaves_the_final_norm() -> None:
    state = {f"encoder.{key}": value for key, value in swin().encoder.state_dict().items()}
    theirs = FORMATS["mmdet-swin"].export_state(state, whole=False)
    assert set(mmdet_swin().state_dict()) - {k.removeprefix("backbone.") for k in theirs} == {
        f"norm{i}.{part}" for i in STAGES for part in ("weight", "bias")
    }
    assert isinstance(swin().encoder, SwinTransformer)


def test_plain_norms_bring_maps_of_any_encoder_to_one_scale() -> None:
    vit = dict(
        type="mmvitssl.ViT", arch=dict(embed_dim=8, depth=2, num_heads=2), image_size=32,
        patch_size=8,
    )  # fmt: skip
    model = DenseFeatures(vit, levels=(0, 1), level_norms="plain").eval()
    assert not list(model.norms.parameters())
    with torch.no_grad():
        model.encoder.blocks[1].mlp.fc2.bias.mul_(0).add_(torch.randn(8) * 20)
        images = torch.randn(2, 3, 32, 32)
        raw = model.encoder.forward_levels(images, (0, 1))
        maps = model(images)
    for level, found in enumerate(maps):
        expected = F.layer_norm(raw[level], (8,), eps=1e-5).transpose(1, 2)
        torch.testing.assert_close(found.flatten(2), expected, atol=1e-5, rtol=1e-5)
        assert found.pow(2).mean() == pytest.approx(1, abs=1e-3) and found.is_contiguous()


def test_another_kind_of_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="False, True or 'plain', not 'batch'"):
        DenseFeatures(SWIN, levels=STAGES, level_norms="batch")
