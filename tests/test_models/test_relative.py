"""Relative positions: indices, tables and contextual keys against independent computations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import gen_relative_position_index
from timm.models.beit import Beit
from torch import Tensor

from mmvitssl.models.backbones import ViT
from mmvitssl.models.backbones.blocks import Attention
from mmvitssl.models.backbones.relative import (
    ContextualKeys,
    bias_index,
    bias_rows,
    grid_coordinates,
    irpe_bucket,
    irpe_index,
    lookup_bias,
    resized_table,
)
from mmvitssl.models.masking import RandomMasking, WindowMasking
from mmvitssl.structures import TokenPlan

SIZES = dict(arch=dict(embed_dim=32, depth=4, num_heads=4), image_size=(32, 48), patch_size=8)


def build(**settings: Any) -> ViT:
    """A small ViT whose tables are not zero."""
    torch.manual_seed(0)
    model = ViT(**{**SIZES, **settings}).eval()
    for name, parameter in model.named_parameters():
        if "table" in name:
            torch.nn.init.normal_(parameter)
    return model


def permuted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's names of a Beit as ours."""
    return {
        key.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma"): value
        for key, value in state.items()
        if not key.endswith("relative_position_index") and not key.startswith("head")
    }


@pytest.mark.parametrize("grid", [(3, 3), (14, 14), (4, 6)])
def test_bias_index_equals_timms_with_a_class_token(grid: tuple[int, int]) -> None:
    ours = bias_index(grid_coordinates(grid), grid, prefix=1)[0]
    assert torch.equal(ours, gen_relative_position_index(grid, class_token=True))
    assert ours.max() == bias_rows(grid) - 1


def test_buckets_of_one_axis_are_the_published_ones() -> None:
    offsets = torch.arange(-15, 16)
    expected = [-3] * 12 + [-2, -2, -1, 0, 1, 2, 2] + [3] * 12
    assert irpe_bucket(offsets).tolist() == expected


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), prefix=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_irpe_index_pair_by_pair(rows: int, columns: int, prefix: int) -> None:
    index = irpe_index(grid_coordinates((rows, columns)), prefix)[0]
    assert index.shape == (prefix + rows * columns,) * 2
    assert bool((index[:prefix] == 49).all()) and bool((index[:, :prefix] == 49).all())
    size = rows * columns
    for query in range(0, size, max(1, size // 5)):
        for key in range(0, size, max(1, size // 7)):
            down = query // columns - key // columns
            right = query % columns - key % columns
            near = [0, 1, 2, 2, 3]
            bucket = [near[min(abs(d), 4)] * (1 if d >= 0 else -1) + 3 for d in (down, right)]
            assert index[prefix + query, prefix + key] == bucket[0] * 7 + bucket[1]


def test_contextual_keys_multiply_the_unscaled_query() -> None:
    torch.manual_seed(0)
    attention = Attention(24, 3, relative="irpe").double()
    assert attention.rpe_k is not None
    torch.nn.init.normal_(attention.rpe_k.lookup_table_weight)
    x = torch.randn(2, 7, 24, dtype=torch.float64)
    index = irpe_index(grid_coordinates((2, 3)), 1)
    q, k, v = attention.qkv(x).view(2, 7, 3, 3, 8).permute(2, 0, 3, 1, 4)
    table = attention.rpe_k.lookup_table_weight[0]
    logits = q @ k.transpose(-1, -2) * 8**-0.5
    for i in range(7):
        for j in range(7):
            logits[:, :, i, j] += q[:, :, i] @ table[:, index[0, i, j]]
    expected = attention.proj((logits.softmax(-1) @ v).transpose(1, 2).reshape(2, 7, 24))
    assert torch.allclose(attention(x, index=index), expected, atol=1e-12)


def test_contextual_keys_take_an_index_for_each_row() -> None:
    keys = ContextualKeys(8)
    torch.nn.init.normal_(keys.lookup_table_weight)
    queries = torch.randn(3, 2, 5, 8)
    index = torch.randint(50, (3, 5, 5))
    rows = torch.cat([keys(queries[i : i + 1], index[i : i + 1]) for i in range(3)])
    assert torch.allclose(keys(queries, index), rows)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("grid", [(4, 4), (4, 6)])
def test_equals_timms_beit(shared: bool, grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    size = (grid[0] * 8, grid[1] * 8)
    theirs = Beit(
        img_size=size, patch_size=8, embed_dim=32, depth=3, num_heads=4, init_values=0.1,
        use_abs_pos_emb=False, use_rel_pos_bias=not shared, use_shared_rel_pos_bias=shared,
        num_classes=0, global_pool="token",
    ).eval()  # fmt: skip
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    ours = ViT(
        arch=dict(embed_dim=32, depth=3, num_heads=4), image_size=size, patch_size=8,
        position="none", relative_position="shared_bias" if shared else "block_bias",
        qkv_bias="qv", layer_scale=0.1,
    ).eval()  # fmt: skip
    ours.load_state_dict(permuted(theirs.state_dict()))
    images = torch.randn(2, 3, *size)
    encoded = ours(images)
    expected = theirs.forward_features(images)
    assert torch.allclose(encoded.cls, expected[:, 0], atol=1e-5)
    assert torch.allclose(encoded.patches, expected[:, 1:], atol=1e-5)


@pytest.mark.parametrize("kind", ["shared_bias", "block_bias", "irpe"])
def test_a_window_as_large_as_the_image_is_the_image(kind: str) -> None:
    model = build(position="none", relative_position=kind)
    images = torch.randn(2, 3, 32, 48)
    tokens = torch.arange(24).expand(2, -1)
    whole = model(images)
    plans = (
        TokenPlan(image_index=torch.arange(2), tokens=tokens, window=(4, 6)),
        TokenPlan(tokens=tokens),
    )
    for plan in plans:
        assert torch.allclose(model(images, plan).patches, whole.patches, atol=1e-5)


@pytest.mark.parametrize("kind", ["shared_bias", "block_bias", "irpe"])
def test_order_of_tokens_does_not_matter(kind: str) -> None:
    model = build(position="none", relative_position=kind)
    images = torch.randn(2, 3, 32, 48)
    tokens = torch.stack([torch.randperm(24)[:9] for _ in range(2)])
    turned = torch.stack([torch.randperm(9) for _ in range(2)])
    first = model(images, TokenPlan(tokens=tokens)).patches
    second = model(images, TokenPlan(tokens=tokens.gather(1, turned))).patches
    assert torch.allclose(first.gather(1, turned[..., None].expand(-1, -1, 32)), second, atol=1e-5)


@pytest.mark.parametrize("kind", ["shared_bias", "irpe"])
def test_windows_are_invariant_to_where_they_lie(kind: str) -> None:
    model = build(position="none", relative_position=kind)
    patches = torch.randn(1, 3, 16, 16)
    images = torch.zeros(1, 3, 32, 48)
    images[..., :16, :16] = patches
    images[..., 16:, 24:40] = patches
    tokens = torch.tensor([[0, 1, 6, 7], [15, 16, 21, 22]])
    plan = TokenPlan(image_index=torch.zeros(2, dtype=torch.long), tokens=tokens, window=(2, 2))
    first, second = model(images, plan).patches
    assert torch.allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("kind", [None, "shared_bias", "block_bias", "irpe"])
def test_late_mask_tokens_join_where_they_should(kind: str | None) -> None:
    position = "learned" if kind is None else "none"
    model = build(position=position, relative_position=kind, mask_token=True)
    torch.nn.init.normal_(model.mask_token)
    images = torch.randn(2, 3, 32, 48)
    plan = WindowMasking((3, 4), 2, 0.5, mask_at=2)((4, 6), 2, torch.Generator())
    assert plan.masked is not None and plan.tokens is not None and plan.image_index is not None
    encoded = model(images, plan, levels=(2, 3))
    assert encoded.patches.shape == (4, 12, 32)
    # by hand: two blocks on visible tokens, then all in their places
    visible = TokenPlan(image_index=plan.image_index, tokens=plan.tokens[~plan.masked].view(4, -1))
    tokens = model.with_prefix(model.embed(images, visible))
    relative = model._relative(visible, (4, 6), late=False)
    for i in range(2):
        tokens = model.blocks[i](tokens, *relative)
    full = model.embed(images, plan)
    full[~plan.masked] = tokens[:, 1:].flatten(0, 1)
    full = torch.cat([tokens[:, :1], full], dim=1)
    relative = model._relative(plan, (4, 6), late=False)
    for i in range(2, 4):
        full = model.blocks[i](full, *relative)
    assert torch.allclose(encoded.patches, model.norm(full)[:, 1:], atol=1e-5)


def test_late_masks_need_as_many_visible_tokens_and_known_levels() -> None:
    model = build(position="none", relative_position="irpe", mask_token=True)
    plan = RandomMasking(0.5, "replace", mask_at=2)((4, 6), 2, torch.Generator())
    with pytest.raises(ValueError, match="blocks 2..3"):
        model(torch.randn(2, 3, 32, 48), plan, levels=(1,))


def test_tables_at_another_resolution_are_resized_and_windows_are_not() -> None:
    model = build(position="none", relative_position="shared_bias")
    assert model.rel_pos_bias is not None
    table = model.rel_pos_bias.relative_position_bias_table
    larger = resized_table(table, (4, 6), (6, 8))
    assert larger.shape == (bias_rows((6, 8)), 4)
    assert torch.equal(larger[-3:], table[-3:])
    index = bias_index(grid_coordinates((6, 8)), (6, 8), 1)
    tokens = model.with_prefix(model.embed(torch.ones(1, 3, 48, 64)))
    bias, _, _ = model._relative(None, (6, 8), late=False)
    assert torch.equal(bias, lookup_bias(larger, index))
    assert model(torch.ones(1, 3, 48, 64)).patches.shape == (1, 48, 32) and len(tokens) == 1
    plan = TokenPlan(
        image_index=torch.zeros(1, dtype=torch.long),
        tokens=torch.tensor([[20, 21, 28, 29]]),
        window=(2, 2),
    )
    bias, _, _ = model._relative(plan, (6, 8), late=False)
    assert torch.equal(bias, lookup_bias(table, bias_index(grid_coordinates((2, 2)), (4, 6), 1)))


def test_a_window_larger_than_the_tables_is_an_error() -> None:
    model = build(position="none", relative_position="shared_bias", relative_grid=2)
    plan = TokenPlan(
        image_index=torch.zeros(1, dtype=torch.long), tokens=torch.arange(9)[None], window=(3, 3)
    )
    with pytest.raises(ValueError, match="raise ViT.relative_grid"):
        model(torch.randn(1, 3, 32, 48), plan)


def test_keys_have_no_bias_and_tables_get_gradients() -> None:
    for kind in ("shared_bias", "block_bias", "irpe"):
        model = build(position="none", relative_position=kind, qkv_bias="qv", layer_scale=0.1)
        model(torch.randn(2, 3, 32, 48)).patches.square().sum().backward()
        names = dict(model.named_parameters())
        assert "blocks.0.attn.qkv.bias" not in names and "blocks.0.attn.q_bias" in names
        for name, parameter in names.items():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(relative_position="rotary"), "relative_position='rotary' is unknown"),
        (dict(qkv_bias="kv"), "one of"),
        (dict(arch=dict(embed_dim=30, depth=1, num_heads=4)), "num_heads=4 must divide embed"),
        (dict(initialisation="zeros"), "unknown"),
    ],
)
def test_options_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViT(**{**SIZES, **settings})


def test_beits_initialisation_is_cut_and_rescaled() -> None:
    model = ViT(arch="tiny", position="none", qkv_bias="qv", initialisation="beit")
    assert model.blocks[0].attn.qkv.weight.abs().max() <= 0.02
    spread = [model.blocks[i].mlp.fc2.weight.std().item() for i in (0, 11)]
    assert spread[0] / spread[1] == pytest.approx(12**0.5, rel=0.02)
    assert model.patch_embed.proj.weight.abs().max() <= 0.02


def test_caes_initialisation_is_xavier_but_for_the_embedding() -> None:
    model = ViT(arch="tiny", position="sincos_row_first", qkv_bias="qv", initialisation="cae")
    bound = (6 / (192 + 768)) ** 0.5
    assert 0.95 * bound < model.blocks[3].mlp.fc1.weight.abs().max() <= bound
    assert model.patch_embed.proj.weight.abs().max() <= 0.02
    assert model.cls_token.abs().max() <= 0.02


def test_compiled_and_checkpointed_windows_agree() -> None:
    model = build(position="none", relative_position="irpe", mask_token=True)
    plan = WindowMasking(3, 2, 0.5)((4, 6), 2, torch.Generator())
    images = torch.randn(2, 3, 32, 48)
    expected = model(images, plan).patches
    model.train()
    model.gradient_checkpointing = True
    again = model(images, plan).patches
    assert torch.allclose(again, expected, atol=1e-6)
    again.sum().backward()
    assert model.blocks[0].attn.rpe_k.lookup_table_weight.grad is not None
    model.eval().compile(backend="eager", fullgraph=True)
    assert torch.allclose(model(images, plan).patches, expected, atol=1e-6)
