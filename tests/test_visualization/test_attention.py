"""Attention maps are what timm's unfused attention computes, and masks keep what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from mmvitssl.models.backbones import SwinTransformer, ViT
from mmvitssl.registry import MODELS
from mmvitssl.visualization.attention import (
    block_attention,
    class_attention,
    draw_attention,
    kept_mass,
    load_image,
    probe_attention,
)
from tests.test_checkpoint.test_formats import randomised

ARCH = dict(embed_dim=32, depth=3, num_heads=4)
KINDS: dict[str, dict[str, Any]] = {
    "plain": dict(),
    "tokens": dict(prefix_tokens=("rotation",)),
    "shared": dict(position="none", relative_position="shared_bias", qkv_bias="qv"),
    "block": dict(position="none", relative_position="block_bias", qkv_bias="none"),
    "irpe": dict(position="none", relative_position="irpe"),
}


def vit(**settings: Any) -> ViT:
    model: ViT = randomised(ViT(ARCH, image_size=(32, 48), patch_size=8, **settings))
    return model


def timms_attention(model: VisionTransformer, images: Tensor, block: int) -> Tensor:
    """What timm's block multiplies values with when it does not fuse."""
    attention: Any = model.blocks[block].attn
    attention.fused_attn = False
    found: list[Tensor] = []
    attention.attn_drop.register_forward_hook(lambda module, inputs, out: found.append(out))
    model.eval()(images)
    return found[0]


@pytest.mark.parametrize("block", [0, 1, -1])
def test_it_is_timms_unfused_attention(block: int) -> None:
    encoder = vit()
    theirs = VisionTransformer(
        img_size=(32, 48), patch_size=8, embed_dim=32, depth=3, num_heads=4, num_classes=0
    )
    theirs.load_state_dict(encoder.state_dict())
    images = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        expected = timms_attention(theirs, images, block)
    assert expected.std() > 0.001
    torch.testing.assert_close(block_attention(encoder, images, block), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(32, 48), (40, 24)])
def test_rows_sum_to_one_and_give_what_the_block_attends(kind: str, size: tuple[int, int]) -> None:
    encoder, images = vit(**KINDS[kind]), torch.randn(2, 3, *size)
    attention: Any = encoder.blocks[1].attn
    seen: dict[str, Tensor] = {}
    attention.register_forward_hook(
        lambda module, inputs, output: seen.update(x=inputs[0], out=output)
    )
    with torch.no_grad():
        before = encoder(images).tokens
        weights = block_attention(encoder, images, 1)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:3]))
        values = attention.qkv.weight[64:] @ seen["x"].mT
        bias = attention._bias()
        values = values if bias is None else values + bias[64:, None]
        values = values.unflatten(1, (4, -1)).mT
        out = attention.proj((weights @ values).transpose(1, 2).flatten(2))
        torch.testing.assert_close(out, seen["out"], rtol=1e-4, atol=1e-4)
        assert torch.equal(encoder(images).tokens, before)  # nothing stays behind


def test_the_mode_of_the_encoder_stays_and_stochastic_depth_is_off() -> None:
    encoder, images = vit(drop_path=0.9).train(), torch.randn(2, 3, 32, 48)
    first = block_attention(encoder, images)
    assert encoder.training and torch.equal(block_attention(encoder, images), first)


def test_the_class_tokens_map_has_the_images_grid() -> None:
    encoder, images = vit(prefix_tokens=("a", "b")), torch.randn(1, 3, 40, 64)
    maps = class_attention(encoder, images)
    assert maps.shape == (1, 4, 5, 8)
    whole = block_attention(encoder, images)[:, :, 0]
    torch.testing.assert_close(maps.flatten(2), whole[..., 3:])


def test_what_has_no_map_is_refused() -> None:
    images = torch.randn(1, 3, 32, 48)
    with pytest.raises(ValueError, match="blocks 0..2"):
        block_attention(vit(), images, 3)
    swin = SwinTransformer(dict(embed_dim=16, depths=(2,), num_heads=(2,)), window_size=4)
    with pytest.raises(ValueError, match="SwinTransformer has no class token"):
        block_attention(swin, images)


def classifier(head: str) -> Any:
    encoder = dict(type="ViT", arch=ARCH, image_size=(32, 48), patch_size=8)
    more = dict(num_heads=4) if head == "AttentiveHead" else {}
    model = MODELS.build(
        dict(type="ImageClassifier", encoder=encoder, head=dict(type=head, num_classes=3, **more))
    )
    return randomised(model)


def test_an_attentive_probe_has_a_map() -> None:
    model, images = classifier("AttentiveHead"), torch.randn(2, 3, 32, 48)
    tokens = model.encoder(images).tokens
    weights = model.head.weights(tokens)
    assert weights.shape == (2, 4, 25)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 4))
    head, values = model.head, model.head.norm_v(tokens)
    values = torch.nn.functional.linear(values, head.cross_attn.v.weight, head.cross_attn.v_bias)
    attended = (weights[:, :, None] @ values.unflatten(-1, (4, -1)).transpose(1, 2)).flatten(1)
    expected = head.linear(head.norm(head.cross_attn.proj(attended)))
    torch.testing.assert_close(head(tokens), expected, rtol=1e-4, atol=1e-4)
    maps = probe_attention(model, images)
    torch.testing.assert_close(maps, weights[..., 1:].unflatten(-1, (4, 6)).detach())
    with pytest.raises(ValueError, match="LinearHead does not attend"):
        probe_attention(classifier("LinearHead"), images)


@given(st.lists(st.floats(0.001, 1.0), min_size=6, max_size=6), st.floats(0.05, 1.0))
def test_a_mask_is_the_smallest_with_its_share(values: list[float], share: float) -> None:
    attention = torch.tensor(values, dtype=torch.float64).view(2, 3)
    kept = kept_mass(attention, share)
    total = float(attention.sum())
    mass = float(attention[kept].sum())
    assert mass >= share * total * (1 - 1e-9)
    assert mass - float(attention[kept].min()) < share * total  # one less is too few
    assert attention[kept].min() >= attention[~kept].max() if (~kept).any() else True


def test_a_share_must_be_one() -> None:
    for share in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"in \(0, 1\]"):
            kept_mass(torch.ones(2, 2), share)


@pytest.mark.parametrize("portrait", [False, True])
def test_an_image_keeps_its_aspect(portrait: bool, tmp_path: Path) -> None:
    size = (50, 80) if portrait else (80, 50)
    Image.new("RGB", size, (10, 200, 30)).save(tmp_path / "x.png")
    image = load_image(tmp_path / "x.png", 40, 8)
    assert image.shape == ((3, 64, 40) if portrait else (3, 40, 64))
    assert image.dtype == torch.uint8 and image[:, 5, 5].tolist() == [10, 200, 30]
    with pytest.raises(ValueError, match="raise --size"):
        load_image(tmp_path / "x.png", 7, 8)


def test_a_sheet_shows_where_attention_is(tmp_path: Path) -> None:
    pixels = torch.full((3, 32, 48), 200, dtype=torch.uint8)
    attention = torch.zeros(2, 4, 6)
    attention[:, :, :3] = 1.0  # the left half
    out = draw_attention(pixels, attention, tmp_path / "new/sheet.png", "title", (1.0, 1.0))
    sheet = np.asarray(Image.open(out).convert("RGB")).astype(int)
    veiled = np.abs(sheet - np.array([89, 98, 132])).max(axis=2) < 6
    kept = np.abs(sheet - 200).max(axis=2) < 6
    # two rows of three masks: half of the picture is veiled in each
    assert 0.8 < veiled.sum() / max(kept.sum() - kept[:, : sheet.shape[1] // 4].sum(), 1) < 1.25
    column = veiled[:, sheet.shape[1] // 4 : sheet.shape[1] // 2]
    assert column[:, column.shape[1] // 2 :].sum() > 3 * column[:, : column.shape[1] // 2].sum()
