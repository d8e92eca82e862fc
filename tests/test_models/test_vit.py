"""The encoder against timm, its token plans and its error messages."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmvitssl.models.backbones import DenseFeatures, ViT
from mmvitssl.models.backbones.position import infer_grid, sincos_table
from mmvitssl.structures import TokenPlan

TINY = dict(embed_dim=32, depth=3, num_heads=2)


def tiny(**changes: object) -> ViT:
    settings_ = dict(arch=TINY, image_size=(32, 48), patch_size=8, mask_token=True)
    return ViT(**{**settings_, **changes}).eval()


@pytest.mark.parametrize(
    ("name", "arch", "patch", "layer_scale"),
    [
        ("vit_tiny_patch16_224", "tiny", 16, None),
        ("vit_small_patch32_224", "small", 32, None),
        ("vit_small_patch8_224", dict(base="small", depth=4), 8, 0.1),
        ("vit_base_patch16_224", dict(base="base", depth=6), 16, None),
    ],
)
def test_equals_timm_at_every_depth(
    name: str, arch: object, patch: int, layer_scale: float | None
) -> None:
    mine = ViT(arch, patch_size=patch, image_size=64, layer_scale=layer_scale).eval()
    theirs = timm.create_model(
        name, num_classes=0, img_size=64, depth=mine.depth, init_values=layer_scale
    ).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.05)
    mine.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        final, levels = theirs.forward_intermediates(images, output_fmt="NLC")
        encoded = mine(images, levels=range(mine.depth))
    torch.testing.assert_close(encoded.cls, final[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoded.patches, final[:, 1:], atol=1e-5, rtol=1e-5)
    for depth, level in enumerate(levels):
        torch.testing.assert_close(encoded.hierarchy[depth], level, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("arch", "parameters"), [("small", 21_665_664), ("base", 85_798_656), ("large", 303_301_632)]
)
def test_parameter_counts(arch: str, parameters: int) -> None:
    with torch.device("meta"):
        model = ViT(arch)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_mocov3_trains_all_but_positions_and_patch_projection() -> None:
    model = tiny(position="sincos_row_first", freeze_patch_embed=True, mask_token=False)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}


def test_sincos_orders_are_transposes_of_each_other() -> None:
    rows, columns, channels = 3, 5, 8
    row_first = sincos_table((rows, columns), channels, "sincos_row_first")[0, 1:]
    column_first = sincos_table((rows, columns), channels, "sincos_column_first")[0, 1:]
    half = channels // 2
    swapped = torch.cat([column_first[:, half:], column_first[:, :half]], dim=1)
    assert torch.equal(row_first, swapped)
    # closed form of one entry: patch (2, 3), second frequency of the row half, cosine
    value = row_first.reshape(rows, columns, channels)[2, 3, half // 2 + 1]
    assert value.item() == pytest.approx(math.cos(2 * 10000 ** (-1 / 2)), abs=1e-6)
    assert not sincos_table((rows, columns), channels, "sincos_row_first")[0, 0].any()


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 6), width=st.integers(1, 6))
def test_any_size_that_the_patch_divides(height: int, width: int) -> None:
    encoded = tiny()(torch.randn(1, 3, 8 * height, 8 * width), levels=(1,))
    assert encoded.grid == (height, width)
    assert encoded.patches.shape == encoded.hierarchy[1].shape == (1, height * width, 32)


@pytest.mark.parametrize("patch", [4, 8, 14, 16])
def test_patch_sizes(patch: int) -> None:
    encoded = tiny(patch_size=patch, image_size=(2 * patch, 3 * patch))(
        torch.randn(1, 3, 4 * patch, 2 * patch)
    )
    assert encoded.grid == (4, 2) and encoded.patches.shape == (1, 8, 32)


def test_indivisible_size_names_a_size_that_fits() -> None:
    with pytest.raises(ValueError, match="33x48 pixels.*such as 32x48"):
        tiny()(torch.randn(1, 3, 33, 48))
    with pytest.raises(ValueError, match="patches of 16"):
        ViT("tiny", image_size=100)


def test_resized_positions_equal_timms() -> None:
    mine = ViT(dict(base="tiny", depth=1), image_size=64).eval()
    nn.init.normal_(mine.pos_embed)
    resized = mine.resized_position((6, 3))
    table = mine.pos_embed[:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(table, size=(6, 3), mode="bicubic")
    torch.testing.assert_close(resized[:, 1:], expected.flatten(2).transpose(1, 2))
    assert torch.equal(resized[:, :1], mine.pos_embed[:, :1])


@pytest.mark.parametrize(
    ("tokens", "like", "grid"),
    [(196, (2, 9), (14, 14)), (24, (8, 12), (4, 6)), (6, (2, 3), (2, 3))],
)
def test_infer_grid(tokens: int, like: tuple[int, int], grid: tuple[int, int]) -> None:
    assert infer_grid(tokens, like) == grid


def test_infer_grid_gives_up_in_words() -> None:
    with pytest.raises(ValueError, match="table of 7 patches"):
        infer_grid(7, (2, 3))


def test_plan_of_all_patches_in_another_order_permutes_the_output() -> None:
    model, images = tiny(), torch.randn(2, 3, 32, 48)
    order = torch.stack([torch.randperm(24) for _ in range(2)])
    planned = model(images, TokenPlan(tokens=order), levels=(0,))
    whole = model(images, levels=(0,))
    expected = whole.patches.gather(1, order[..., None].expand(-1, -1, 32))
    torch.testing.assert_close(planned.patches, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(planned.cls, whole.cls, atol=1e-5, rtol=1e-4)


def test_rows_of_a_plan_come_from_the_images_they_name() -> None:
    model, images = tiny(), torch.randn(2, 3, 32, 48)
    tokens = torch.tensor([[0, 5, 7], [0, 5, 7], [1, 2, 3]])
    rows = model(images, TokenPlan(image_index=torch.tensor([1, 0, 1]), tokens=tokens))
    alone = model(images[1:], TokenPlan(tokens=tokens[:1]))
    torch.testing.assert_close(rows.patches[0], alone.patches[0])
    assert rows.patches.shape == (3, 3, 32)
    assert not torch.allclose(rows.patches[0], rows.patches[1])


def test_masked_pixels_cannot_be_seen() -> None:
    model, images = tiny(), torch.randn(2, 3, 32, 48)
    masked = torch.zeros(2, 24, dtype=torch.bool)
    masked[:, 7] = True  # grid 4x6: patch 7 is row 1, column 1
    changed = images.clone()
    changed[:, :, 8:16, 8:16] += 1
    plan = TokenPlan(masked=masked)
    assert torch.equal(model(images, plan).patches, model(changed, plan).patches)
    assert not torch.equal(model(images).patches, model(changed).patches)


def test_late_masks_join_before_their_block() -> None:
    model, images = tiny(), torch.randn(2, 3, 32, 48)
    masked = torch.rand(2, 24).argsort(dim=1) < 18
    plan = TokenPlan(masked=masked, mask_at=2, num_visible=6)
    plan.validate(2, (4, 6))
    encoded = model(images, plan, levels=(2,))
    # the first two blocks, over the visible tokens alone
    visible = plan.visible_slots()
    tokens = model.with_prefix(model.embed(images, TokenPlan(tokens=visible)))
    for block in model.blocks[:2]:
        tokens = block(tokens)
    whole = model.embed(images, TokenPlan(masked=masked))
    whole = whole.scatter(1, visible[..., None].expand(-1, -1, 32), tokens[:, 1:])
    expected = model.blocks[2](torch.cat([tokens[:, :1], whole], dim=1))
    torch.testing.assert_close(encoded.hierarchy[2], expected[:, 1:])
    with pytest.raises(ValueError, match="blocks 2..2"):
        model(images, plan, levels=(1,))


def test_bad_plans_are_refused() -> None:
    with pytest.raises(TypeError, match="must be bool"):
        TokenPlan(masked=torch.zeros(1, 3))
    with pytest.raises(ValueError, match="needs TokenPlan.tokens"):
        TokenPlan(image_index=torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match="same shape"):
        TokenPlan(
            tokens=torch.zeros(1, 4, dtype=torch.long), masked=torch.zeros(1, 3, dtype=torch.bool)
        )
    with pytest.raises(ValueError, match="num_visible"):
        TokenPlan(masked=torch.zeros(1, 3, dtype=torch.bool), mask_at=1)
    with pytest.raises(ValueError, match="twice"):
        TokenPlan(tokens=torch.tensor([[1, 1]])).validate(1, (2, 2))
    with pytest.raises(ValueError, match="lie in 0..3"):
        TokenPlan(tokens=torch.tensor([[4]])).validate(1, (2, 2))
    with pytest.raises(ValueError, match="mask_token=True"):
        tiny(mask_token=False)(
            torch.randn(1, 3, 32, 48), TokenPlan(masked=torch.ones(1, 24, dtype=torch.bool))
        )


def test_prefix_tokens_are_named_and_attend() -> None:
    model, images = tiny(prefix_tokens=("contrast", "rotation")), torch.randn(2, 3, 32, 48)
    encoded = model(images)
    assert set(encoded.prefix) == {"contrast", "rotation"}
    assert encoded.patches.shape == (2, 24, 32)
    encoded.prefix["rotation"].square().sum().backward()
    assert model.prefix_tokens["rotation"].grad.abs().sum() > 0
    assert model.patch_embed.proj.weight.grad.abs().sum() > 0


def test_gradient_checkpointing_changes_nothing() -> None:
    plain = tiny(drop_path=0.0).train()
    saving = tiny(gradient_checkpointing=True).train()
    saving.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 32, 48)
    for model in (plain, saving):
        model(images).patches.square().mean().backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad)


def test_layer_depths() -> None:
    model = tiny()
    depths = {name: model.get_layer_depth(name)[0] for name, _ in model.named_parameters()}
    assert depths["cls_token"] == depths["pos_embed"] == depths["patch_embed.proj.bias"] == 0
    assert depths["blocks.0.norm1.weight"] == 1
    assert depths["blocks.2.mlp.fc2.bias"] == 3
    assert depths["norm.weight"] == 4
    assert model.get_layer_depth("norm.weight")[1] == 5


@pytest.mark.parametrize("bad", [dict(arch="giant"), dict(arch=dict(depth=3)), dict(position="2d")])
def test_unknown_settings_name_the_known(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="ViT"):
        tiny(**bad)


def test_unknown_key_is_an_error() -> None:
    with pytest.raises(TypeError, match="drop_rate"):
        ViT("tiny", drop_rate=0.1)


def test_dense_features_pad_and_freeze_what_does_not_run() -> None:
    encoder = dict(type="mmvitssl.ViT", arch=TINY, image_size=32, patch_size=8)
    dense = DenseFeatures(encoder, levels=(0, 1))
    maps = dense(torch.randn(2, 3, 30, 41))
    assert [tuple(level.shape) for level in maps] == [(2, 32, 4, 6)] * 2
    sum(level.sum() for level in maps).backward()
    for name, parameter in dense.named_parameters():
        runs = not name.startswith(("encoder.norm.", "encoder.blocks.2."))
        assert parameter.requires_grad is runs
        assert (parameter.grad is not None) is runs
    with pytest.raises(ValueError, match="must ascend"):
        DenseFeatures(encoder, levels=(2, 1))


def test_dense_features_equal_the_encoder() -> None:
    encoder = dict(type="mmvitssl.ViT", arch=TINY, image_size=32, patch_size=8)
    dense, images = DenseFeatures(encoder, levels=(0, 2)).eval(), torch.randn(2, 3, 32, 48)
    encoded = dense.encoder(images, levels=(0, 2))
    for level, feature in zip((0, 2), dense(images), strict=True):
        expected = encoded.hierarchy[level].transpose(1, 2).reshape(2, 32, 4, 6)
        assert torch.equal(feature, expected)
