"""Windowed attention with decomposed relative positions, against written-out sums and timm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mmvitssl.checkpoint import load_encoder
from mmvitssl.models.backbones import ViT, WindowedFeatures
from mmvitssl.models.backbones.blocks import Attention
from mmvitssl.models.backbones.relative import RelativeBias
from mmvitssl.models.backbones.windows import DecomposedPositions, Windows
from mmvitssl.models.necks import SimpleFeaturePyramid

ARCH = dict(embed_dim=16, depth=4, num_heads=2)
ENCODER: dict[str, Any] = dict(type="mmvitssl.ViT", arch=ARCH, image_size=32, patch_size=8)


def build(random: bool = True, encoder: dict[str, Any] | None = None, **settings: Any) -> Any:
    """Four blocks of which the last is global, windows of 3 on tables for 4 x 4 patches."""
    settings = dict(levels=(3,), global_blocks=(3,), window_size=3, relative_grid=(4, 4)) | settings
    model = WindowedFeatures({**ENCODER, **(encoder or {})}, **settings)
    for parameter in model.parameters() if random else ():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def cells(rows: range, columns: range) -> Iterator[tuple[int, int]]:
    return ((r, c) for r in rows for c in columns)


def written_out(attention: Attention, tables: DecomposedPositions, x: Tensor, grid: Any,
                window: int) -> Tensor:  # fmt: skip
    """Attention of one image (h * w, C), a query and a key at a time."""
    channels, heads = x.shape[1], attention.num_heads
    d = channels // heads
    out = torch.zeros_like(x)
    ends = [math.ceil(side / window) * window for side in grid]
    for top, left in cells(range(0, ends[0], window), range(0, ends[1], window)):
        places = list(cells(range(top, top + window), range(left, left + window)))
        vectors = []
        for r, c in places:
            here = r < grid[0] and c < grid[1]
            vectors.append(attention.qkv(x[r * grid[1] + c] if here else torch.zeros_like(x[0])))
        for i, (r, c) in enumerate(places):
            if r >= grid[0] or c >= grid[1]:
                continue
            parts = []
            for head in range(heads):
                chosen = slice(head * d, (head + 1) * d)
                q = vectors[i][:channels][chosen]
                logits = torch.stack([
                    q @ vector[channels : 2 * channels][chosen] / math.sqrt(d)
                    + q @ tables.rel_pos_h[r - place[0] + window - 1]
                    + q @ tables.rel_pos_w[c - place[1] + window - 1]
                    for place, vector in zip(places, vectors, strict=True)
                ])  # fmt: skip
                values = torch.stack([vector[2 * channels :][chosen] for vector in vectors])
                parts.append(logits.softmax(0) @ values)
            out[r * grid[1] + c] = attention.proj(torch.cat(parts))
    return out


@pytest.mark.parametrize("grid", [(5, 7), (6, 3), (2, 2)])
def test_windows_against_the_written_out_sum(grid: tuple[int, int]) -> None:
    attention, tables = Attention(8, 2).double(), DecomposedPositions((3, 3), 4).double()
    for parameter in [*attention.parameters(), *tables.parameters()]:
        nn.init.normal_(parameter)
    x = torch.randn(2, grid[0] * grid[1], 8, dtype=torch.float64)
    windows = Windows(3, grid)
    with torch.no_grad():
        found = attention(x, partial(tables, grid=(3, 3)), windows=windows)
        for image in range(2):
            expected = written_out(attention, tables, x[image], grid, 3)
            torch.testing.assert_close(found[image], expected)


@pytest.mark.parametrize("grid", [(1, 1), (3, 3), (4, 6), (5, 7)])
def test_joining_windows_undoes_cutting(grid: tuple[int, int]) -> None:
    tokens, windows = torch.randn(2, grid[0] * grid[1], 4), Windows(3, grid)
    cut = windows.cut(tokens)
    assert cut.shape[1] == 9 and cut.shape[0] == 2 * math.prod(windows.padded) // 9
    assert torch.equal(windows.join(cut), tokens)
    assert cut.count_nonzero() == tokens.count_nonzero()


def test_tables_of_another_size_are_resized_linearly() -> None:
    tables = DecomposedPositions((3, 4), 2)
    with torch.no_grad():  # offsets themselves: linear resizing keeps them linear
        tables.rel_pos_h.copy_(torch.arange(-2.0, 3.0)[:, None].expand(-1, 2))
    queries = torch.ones(1, 1, 5 * 4, 2)
    logits = tables(queries, (5, 4))[0, 0].view(5, 4, 5, 4)
    # 9 entries from 5: entry j lies at (j + .5) * 5 / 9 - .5 of the old ones, inside their ends
    for query, key in cells(range(5), range(5)):
        place = (query - key + 4 + 0.5) * 5 / 9 - 0.5
        expected = 2 * (min(max(place, 0.0), 4.0) - 2)
        assert logits[query, :, key, :].allclose(torch.full((4, 4), expected), atol=1e-5)


def test_global_blocks_with_fresh_positions_are_a_plain_vit() -> None:
    model = build(random=False, global_blocks=(0, 1, 2, 3))
    nn.init.normal_(model.encoder.pos_embed)
    theirs = VisionTransformer(
        32, 8, embed_dim=16, depth=4, num_heads=2, num_classes=0, class_token=False, global_pool="",
        dynamic_img_size=True,
    ).eval()  # fmt: skip
    state = model.encoder.state_dict()
    state.pop("cls_token")
    theirs.load_state_dict({**state, "pos_embed": state["pos_embed"][:, 1:]}, strict=True)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = theirs.forward_intermediates(images, [3], intermediates_only=True)[0]
        torch.testing.assert_close(model(images)[0], expected, atol=1e-5, rtol=1e-4)


def test_windows_keep_far_patches_apart_until_a_global_block() -> None:
    model = build(levels=(2, 3))
    images = torch.randn(1, 3, 48, 48)
    changed = images.clone()
    changed[..., 40:, 40:] += 1.0  # the last of 6 x 6 patches: the last of four windows
    with torch.no_grad():
        before, after = model(images), model(changed)
    moved = [(b != a).any(dim=(0, 1)) for b, a in zip(before, after, strict=True)]
    assert moved[0][3:, 3:].all() and not moved[0][:3].any() and not moved[0][:, :3].any()
    assert moved[1].all()


def test_images_of_other_sizes_are_padded_and_resized() -> None:
    model = build()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 30, 57))[0].shape == (1, 16, 4, 8)


def test_pretraining_weights_load_unchanged(tmp_path: Path) -> None:
    encoder = ViT(**{k: v for k, v in ENCODER.items() if k != "type"})
    torch.save({"state_dict": {f"encoder.{k}": v for k, v in encoder.state_dict().items()}},
               tmp_path / "last.pth")  # fmt: skip
    model = build(random=False)
    report = load_encoder(model, tmp_path / "last.pth")
    assert len(report.loaded) == len(encoder.state_dict()) and not report.left_out
    for key, value in encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[key], value)
    assert all(p.count_nonzero() == 0 for p in model.positions.parameters())


def test_gradients_reach_what_runs_and_the_rest_is_frozen() -> None:
    model = build(encoder=dict(prefix_tokens=("extra",), mask_token=True)).train()
    model(torch.randn(2, 3, 40, 40))[0].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) is parameter.requires_grad, name
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {
        "encoder.cls_token", "encoder.prefix_tokens.extra", "encoder.mask_token",
        "encoder.norm.weight", "encoder.norm.bias",
    }  # fmt: skip
    assert all(p.grad.count_nonzero() > 0 for p in model.positions.parameters())


def test_recomputing_blocks_gives_the_same_gradients() -> None:
    images, grads = torch.randn(1, 3, 40, 40), []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = build(encoder=dict(gradient_checkpointing=checkpointing)).train()
        model(images)[0].square().sum().backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    for name in grads[0]:
        torch.testing.assert_close(grads[1][name], grads[0][name])


@pytest.mark.parametrize("kind", ["block_bias", "irpe"])
def test_the_encoders_own_relative_positions_act_inside_windows(kind: str) -> None:
    model = build(encoder=dict(relative_position=kind, position="none"))
    for positions in model.positions:
        nn.init.zeros_(positions.rel_pos_h)
        nn.init.zeros_(positions.rel_pos_w)
    images = torch.randn(1, 3, 24, 24)  # one window and, globally, a map of the same size
    with torch.no_grad():
        found = model(images)[0].flatten(2).transpose(1, 2)
        tokens = model.encoder.embed(images)
        grid = (3, 3)
        index, _ = model._relative(grid)
        for block in model.encoder.blocks:
            attention, normed = block.attn, block.norm1(tokens)
            if kind == "block_bias":  # as a table shared from outside
                table = RelativeBias((4, 4), 2)
                table.relative_position_bias_table = attention.relative_position_bias_table
                attention.relative_position_bias_table = None
                out = attention(normed, table(index, (4, 4), grid))
            else:
                out = attention(normed, index=index)
            tokens = tokens + out
            tokens = tokens + block.mlp(block.norm2(tokens))
    torch.testing.assert_close(found, tokens, atol=1e-5, rtol=1e-4)


def test_both_kinds_of_relative_positions_add_up() -> None:
    attention, tables = Attention(8, 2, relative="irpe"), DecomposedPositions((3, 3), 4)
    for parameter in [*attention.parameters(), *tables.parameters()]:
        nn.init.normal_(parameter)
    index, x = torch.randint(0, 50, (1, 9, 9)), torch.randn(1, 9, 8)
    q = attention.qkv(x).view(1, 9, 3, 2, 4).permute(2, 0, 3, 1, 4)[0]
    total = tables(q, (3, 3)) + attention.rpe_k(q, index)
    found = attention(x, partial(tables, grid=(3, 3)), index)
    nn.init.zeros_(attention.rpe_k.lookup_table_weight)
    torch.testing.assert_close(found, attention(x, total, index))


def test_layers_of_relative_positions() -> None:
    model = build()
    assert model.get_layer_depth("positions.2.rel_pos_h") == (3, 6)
    assert model.get_layer_depth("encoder.blocks.2.norm1.weight") == (3, 6)
    assert model.get_layer_depth("encoder.pos_embed") == (0, 6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(global_blocks=(4,)), r"global_blocks=\(4,\) do not all exist.*0\.\.3"),
        (dict(encoder=dict(relative_position="shared_bias")), "use 'block_bias'"),
        (dict(levels=(4,)), "do not all exist"),
    ],
)
def test_what_does_not_fit_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(**settings)


def test_a_swin_has_windows_of_its_own() -> None:
    arch = dict(embed_dim=8, depths=(2, 2), num_heads=(1, 2))
    encoder = dict(type="mmvitssl.SwinTransformer", arch=arch)
    with pytest.raises(ValueError, match="needs a plain ViT"):
        WindowedFeatures(encoder, levels=(1,), global_blocks=(1,))


def test_maps_for_heads_are_contiguous_and_their_norm_is_known_by_name() -> None:
    """RoIAlign reads maps with other strides wrongly on CPUs."""
    pyramid = SimpleFeaturePyramid(16, out_channels=8)
    assert all(level.is_contiguous() for level in pyramid(build()(torch.randn(1, 3, 64, 64))))
    from mmcv.cnn import ConvModule

    with DefaultScope.overwrite_default_scope("mmdet"):
        module = ConvModule(8, 8, 3, norm_cfg=dict(type="mmvitssl.LN2d", eps=1e-6))
    assert isinstance(module.norm, nn.LayerNorm) and module.norm.eps == 1e-6
    assert module.conv.bias is None
