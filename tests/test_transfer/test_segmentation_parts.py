"""Heads and positions of segmentors against the published computations, written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from scipy.interpolate import make_interp_spline
from torch import Tensor, nn

from mmvitssl.checkpoint import CheckpointError, load_encoder
from mmvitssl.models.backbones import ViT
from mmvitssl.models.backbones.position import sincos_table
from mmvitssl.models.backbones.relative import converted_table
from tests.test_transfer.small_segmentors import ARCH, TRANSFER, WIDTH, small_segmentor

SETR = "cityscapes/setr-{}_vit-base_8xb1-40k_cityscapes-768x768.py"
UPERNET = "ade20k/upernet_{}_8xb2-160k_ade20k-512x512.py"
SIDE, PATCH = 32, 8  # small, with the grid of 4x4 that a checkpoint may have


def build(path: Path) -> Any:
    config = small_segmentor(path)
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = revert_sync_batchnorm(ROOT_MODELS.build(config.model))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


def normed(maps: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Layer norm over the channels of a map, written out; every tap has its own."""
    mean = maps.mean(dim=1, keepdim=True)
    spread = maps.var(dim=1, keepdim=True, unbiased=False)
    maps = (maps - mean) / (spread + 1e-6).sqrt()
    return maps * norm.weight[:, None, None] + norm.bias[:, None, None]


def convolved(maps: Tensor, layer: Any) -> Tensor:
    """Convolution without bias, batch norm, ReLU."""
    conv, bn = layer.conv, layer.bn
    assert conv.bias is None and conv.stride == (1, 1)
    maps = F.conv2d(maps, conv.weight, padding=conv.kernel_size[0] // 2)
    maps = F.batch_norm(maps, bn.running_mean, bn.running_var, bn.weight, bn.bias)
    return maps.relu()


def enlarged(maps: Tensor, factor: int) -> Tensor:
    return F.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)


def classified(maps: Tensor, head: Any) -> Tensor:
    return F.conv2d(maps, head.conv_seg.weight, head.conv_seg.bias)


def logits(model: Any, head: Any, maps: tuple[Tensor, ...], size: int) -> Tensor:
    """What the loss sees: resized to the image as mmseg does."""
    found = head(maps)
    return F.interpolate(found, size=(size, size), mode="bilinear", align_corners=False)


@pytest.fixture
def maps() -> tuple[Tensor, ...]:
    return tuple(torch.randn(2, WIDTH, 4, 4) for _ in range(4))


@torch.no_grad()
def test_naive_enlarges_once_behind_the_classifier(maps: tuple[Tensor, ...]) -> None:
    model = build(TRANSFER / SETR.format("naive"))
    for head, tap in ((model.decode_head, 3), *zip(model.auxiliary_head, range(3), strict=True)):
        (block,) = head.up_convs
        assert block[0].conv.kernel_size == (1, 1)
        expected = enlarged(classified(convolved(normed(maps[tap], head.norm), block[0]), head), 16)
        torch.testing.assert_close(logits(model, head, maps, 64), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_pup_enlarges_four_times_by_two(maps: tuple[Tensor, ...]) -> None:
    model = build(TRANSFER / SETR.format("pup"))
    head = model.decode_head
    out = normed(maps[3], head.norm)
    assert len(head.up_convs) == 4
    for i, block in enumerate(head.up_convs):
        assert block[0].conv.kernel_size == (3, 3)
        out = convolved(out, block[0])
        # the classifier stands before the last enlargement; both are linear, so mmseg may swap them
        out = enlarged(out, 2) if i < 3 else enlarged(classified(out, head), 2)
    torch.testing.assert_close(logits(model, head, maps, 64), out, atol=1e-4, rtol=1e-4)
    for head, tap in zip(model.auxiliary_head, range(4), strict=True):
        (block,) = head.up_convs
        assert block[0].conv.kernel_size == (3, 3)
        out = enlarged(convolved(normed(maps[tap], head.norm), block[0]), 4)
        expected = enlarged(classified(out, head), 4)
        torch.testing.assert_close(logits(model, head, maps, 64), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_mla_adds_from_the_last_block_to_the_first(maps: tuple[Tensor, ...]) -> None:
    model = build(TRANSFER / SETR.format("mla"))
    neck, head = model.neck, model.decode_head
    total: Tensor | float = 0.0
    merged = []
    projections, mixers = neck.mla.channel_proj, neck.mla.feat_extract
    for i, tap in enumerate(reversed(range(4))):
        total = total + convolved(normed(maps[tap], neck.norm[tap]), projections[tap])
        merged.append(convolved(total, mixers[i]))
    parts = [
        enlarged(convolved(convolved(out, block[0]), block[1]), 4)
        for out, block in zip(merged, head.up_convs, strict=True)
    ]
    expected = classified(torch.cat(parts, dim=1), head)
    torch.testing.assert_close(head(neck(maps)), expected, atol=1e-4, rtol=1e-4)
    for auxiliary, out in zip(model.auxiliary_head, merged, strict=True):
        torch.testing.assert_close(auxiliary(neck(maps)), classified(out, auxiliary))


def encoder(**settings: Any) -> ViT:
    defaults = dict(arch=ARCH, image_size=SIDE, patch_size=PATCH, position="none")
    return ViT(**{**defaults, **settings})


# these checkpoints hold no config
GUESSED = "; the file does not say its grid, which is guessed from the number of rows"


def saved(state: dict[str, Tensor], folder: Path) -> Path:
    """A pretraining checkpoint of an encoder with these tensors."""
    path = folder / "pretrained.pth"
    torch.save({"state_dict": {f"encoder.{key}": value for key, value in state.items()}}, path)
    return path


def test_setrs_positions_are_resized_bilinearly(tmp_path: Path) -> None:
    source = encoder(position="learned")
    assert source.pos_embed is not None
    nn.init.normal_(source.pos_embed)
    model = encoder(position="learned", image_size=3 * SIDE, interpolation="bilinear")
    report = load_encoder(model, saved(source.state_dict(), tmp_path), log=print)
    table = source.pos_embed.detach()
    assert report.resized == [f"pos_embed 4x4 -> 12x12 (bilinear){GUESSED}"]
    for row, column in ((0, 0), (5, 7), (11, 4)):  # by hand, at three places
        places = [min(max((x + 0.5) / 3 - 0.5, 0), 3) for x in (row, column)]
        (top, left), (down, right) = (
            [int(p) for p in places], [min(int(p) + 1, 3) for p in places]
        )  # fmt: skip
        y, x = places[0] - top, places[1] - left
        corners = [(top, left, (1 - y) * (1 - x)), (top, right, (1 - y) * x)]
        corners += [(down, left, y * (1 - x)), (down, right, y * x)]
        expected = sum(weight * table[0, 1 + 4 * r + c] for r, c, weight in corners)
        torch.testing.assert_close(model.pos_embed[0, 1 + 12 * row + column], expected)
    assert torch.equal(model.pos_embed[:, 0], table[:, 0])
    # the forward of the pretrained encoder at that size resizes in the same way
    source.interpolation = "bilinear"
    torch.testing.assert_close(source.resized_position((12, 12)), model.pos_embed)
    with pytest.raises(ValueError, match="interpolation='nearest' is unknown"):
        encoder(interpolation="nearest")


def test_caes_fixed_positions_are_never_noise(tmp_path: Path) -> None:
    path = TRANSFER / UPERNET.format("cae-1600e-vit-base")
    model = build(path).backbone
    fresh = ViT(
        **{k: v for k, v in small_segmentor(path).model.backbone.encoder.items() if k != "type"}
    )
    assert fresh.pos_embed is not None and not fresh.pos_embed.requires_grad
    assert torch.equal(fresh.pos_embed, sincos_table((4, 4), WIDTH, "sincos_row_first"))
    source = encoder(
        position="sincos_row_first", image_size=48, patch_size=16, qkv_bias="qv", layer_scale=0.1
    )
    checkpoint = saved(source.state_dict(), tmp_path)
    report = load_encoder(model, checkpoint, log=print)
    assert report.resized == [
        f"pos_embed 3x3 -> 4x4 (bicubic){GUESSED}",
        "4 relative position bias tables start from zero",
    ]
    cells = source.pos_embed[:, 1:].unflatten(1, (3, 3)).permute(0, 3, 1, 2)
    cells = F.interpolate(cells, (4, 4), mode="bicubic", align_corners=False)
    torch.testing.assert_close(model.encoder.pos_embed[:, 1:], cells.flatten(2).transpose(1, 2))
    tables = [block.attn.relative_position_bias_table for block in model.encoder.blocks]
    assert all(table.shape == (7 * 7 + 3, 2) and not table.any() for table in tables)
    state = source.state_dict()
    del state["pos_embed"]
    with pytest.raises(CheckpointError, match="misses 1 of .*pos_embed"):
        load_encoder(model, saved(state, tmp_path), log=print)


def test_maes_new_tables_and_scales_change_nothing(tmp_path: Path) -> None:
    model = small_segmentor(TRANSFER / UPERNET.format("mae-vit-base")).model.backbone.encoder
    fine = ViT(**{k: v for k, v in model.items() if k != "type"}).eval()
    source = encoder(position="sincos_column_first", image_size=64, patch_size=16).eval()
    report = load_encoder(fine, saved(source.state_dict(), tmp_path), log=print)
    assert report.resized == [
        "4 relative position bias tables start from zero",
        "8 residual scales start from one",
    ]
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(fine(images).patches, source(images).patches)
    assert fine.pos_embed is not None and fine.pos_embed.requires_grad  # MAE trains it from here on
    with pytest.raises(CheckpointError, match="misses 8 of .*ls1.gamma"):
        load_encoder(encoder(layer_scale=0.5), saved(encoder().state_dict(), tmp_path), log=print)


def geometric(old: int, new: int) -> tuple[list[float], list[float]]:
    """BEiT's coordinates of the offsets of ``old`` patches, and those of ``new`` ones.

    From one offset to the next the distance grows by a factor q, found by bisection, such that the
    outermost old offset lies where the outermost new one does: 1 + q + q^2 + ... = new - 1.
    """
    low, high = 1.01, 1.5
    for _ in range(40):
        factor = (low + high) / 2
        far = sum(factor**i for i in range(old - 1)) > new - 1
        low, high = (low, factor) if far else (factor, high)
    steps = [sum(factor**i for i in range(n)) for n in range(old)]
    return [-step for step in steps[:0:-1]] + steps, [float(x) for x in range(1 - new, new)]


@pytest.mark.parametrize(("old", "new"), [((14, 14), (32, 32)), ((7, 4), (9, 5))])
def test_bias_tables_are_resized_on_a_geometric_progression(
    old: tuple[int, int], new: tuple[int, int]
) -> None:
    heads = 3
    table = torch.randn((2 * old[0] - 1) * (2 * old[1] - 1) + 3, heads)
    found = converted_table(table, old, new)
    assert found.shape == ((2 * new[0] - 1) * (2 * new[1] - 1) + 3, heads)
    (rows, new_rows), (columns, new_columns) = (
        geometric(*sides) for sides in zip(old, new, strict=True)
    )
    assert rows[-1] == pytest.approx(new_rows[-1], abs=1e-4)
    for head in range(heads):
        known = table[:-3, head].view(len(rows), len(columns)).double().numpy()
        # cubic splines one axis after the other, by another routine than a surface at once
        down = make_interp_spline(rows, known, k=3, axis=0)(np.clip(new_rows, rows[0], rows[-1]))
        places = np.clip(new_columns, columns[0], columns[-1])
        expected = make_interp_spline(columns, down, k=3, axis=1)(places)
        mine = found[:-3, head].view(len(new_rows), len(new_columns)).double().numpy()
        assert np.abs(mine - expected).max() < 1e-3
        # the offset of nothing and those of one patch keep their values
        near = (slice(new[0] - 2, new[0] + 1), slice(new[1] - 2, new[1] + 1))
        old_near = known[old[0] - 2 : old[0] + 1, old[1] - 2 : old[1] + 1]
        assert np.abs(mine[near] - old_near).max() < 1e-5
    assert torch.equal(found[-3:], table[-3:])


def test_what_there_is_to_interpolate_in_small_tables() -> None:
    table = torch.randn(3 * 3 + 3, 2)
    assert converted_table(table, (2, 2), (2, 2)) is table
    assert converted_table(table, (2, 2), (3, 2)).shape == (5 * 3 + 3, 2)
    with pytest.raises(ValueError, match="1x5 patches cannot be resized"):
        converted_table(torch.randn(9 + 3, 2), (1, 5), (2, 5))


def test_contextual_positions_fit_every_resolution_unchanged(tmp_path: Path) -> None:
    source = encoder(relative_position="irpe")
    for block in source.blocks:
        nn.init.normal_(block.attn.rpe_k.lookup_table_weight)
    model = encoder(relative_position="irpe", image_size=(2 * SIDE, 4 * SIDE)).eval()
    report = load_encoder(model, saved(source.state_dict(), tmp_path), log=print)
    assert report.resized == []
    images = torch.randn(1, 3, 2 * SIDE, 4 * SIDE)
    with torch.no_grad():
        torch.testing.assert_close(model(images).patches, source.eval()(images).patches)
        moved = images.roll(PATCH, dims=3)  # by a patch: only the border sees another picture
        assert not torch.allclose(model(images).patches, model(moved).patches)
