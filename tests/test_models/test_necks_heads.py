"""Fusion decoder, projection MLP and losses against plain re-computations."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmvitssl.models.heads import InfoNCE, PixelLoss
from mmvitssl.models.necks import MultiHierarchyFusion, ProjectionMLP
from mmvitssl.models.necks.tokens import tokens_to_map


def plain_info_nce(queries: torch.Tensor, keys: torch.Tensor, temperature: float) -> float:
    """One query at a time, in Python floats."""
    total = 0.0
    for i, query in enumerate(queries):
        scores = []
        for key in keys:
            cosine = sum(a * b for a, b in zip(query.tolist(), key.tolist(), strict=True))
            cosine /= math.sqrt(sum(a * a for a in query.tolist()))
            cosine /= math.sqrt(sum(b * b for b in key.tolist()))
            scores.append(cosine / temperature)
        total += math.log(sum(math.exp(score) for score in scores)) - scores[i]
    return total / len(queries)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_info_nce_against_a_plain_loop(temperature: float) -> None:
    queries, keys = torch.randn(7, 5), torch.randn(7, 5)
    loss, accuracy = InfoNCE(temperature, scale=2 * temperature)(queries, keys)
    expected = 2 * temperature * plain_info_nce(queries.double(), keys.double(), temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    nearest = (F.normalize(queries) @ F.normalize(keys).T).argmax(1)
    assert accuracy.item() == pytest.approx((nearest == torch.arange(7)).float().mean().item())


def test_info_nce_gives_no_gradient_to_keys() -> None:
    queries = torch.randn(4, 3, requires_grad=True)
    keys = torch.randn(4, 3, requires_grad=True)
    InfoNCE()(queries, keys)[0].backward()
    assert queries.grad.abs().sum() > 0 and keys.grad is None


def test_info_nce_needs_a_positive_temperature() -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        InfoNCE(0.0)


def plain_fusion(decoder: MultiHierarchyFusion, maps: list[torch.Tensor]) -> torch.Tensor:
    """The paper's formula written out, with the decoder's own weights."""
    maps = [
        level if isinstance(conv, nn.Identity) else F.conv2d(level, conv.weight, conv.bias)
        for conv, level in zip(decoder.lateral, maps, strict=True)
    ]
    deep = maps.pop()
    if not maps:
        for conv in (conv for block in decoder.fusion for conv in list(block)[::2]):
            deep = F.conv2d(deep, conv.weight, conv.bias, padding=1).clamp(min=0)
    while maps:
        shallow = maps.pop()
        deep = F.interpolate(deep, size=shallow.shape[-2:], mode="bilinear")
        deep = torch.cat([deep, shallow], 1)
        for conv in list(decoder.fusion[len(maps)])[::2]:
            deep = F.conv2d(deep, conv.weight, conv.bias, padding=1).clamp(min=0)
    pixels = F.conv2d(deep, decoder.to_pixels.weight, decoder.to_pixels.bias)
    batch, _, height, width = pixels.shape
    side = decoder.patch_size
    # channel = colour * P^2 + row * P + column
    pixels = pixels.reshape(batch, 3, side, side, height, width)
    return pixels.permute(0, 1, 4, 2, 5, 3).reshape(batch, 3, height * side, width * side)


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("width", [None, 8])
def test_fusion_against_the_formula(levels: int, width: int | None) -> None:
    decoder = MultiHierarchyFusion(12, levels=levels, width=width, layers=2, patch_size=4)
    maps = [torch.randn(2, 12, 3, 5) for _ in range(levels)]
    prediction = decoder(maps)
    assert prediction.shape == (2, 3, 12, 20)
    torch.testing.assert_close(prediction, plain_fusion(decoder, maps), atol=1e-5, rtol=1e-5)


def test_a_single_level_has_the_convolutions_of_four() -> None:
    single, four = (MultiHierarchyFusion(12, levels=n, width=8, patch_size=4) for n in (1, 4))

    def kernels(decoder: MultiHierarchyFusion) -> list[tuple[int, ...]]:
        """Output channels and kernels, shallow inputs aside, of all 3x3 convolutions."""
        convolutions = [m for m in decoder.fusion.modules() if isinstance(m, nn.Conv2d)]
        return [(conv.out_channels, *conv.kernel_size) for conv in convolutions]

    assert kernels(single) == kernels(four) == [(8, 3, 3)] * 6
    maps, moved = torch.randn(1, 12, 9, 9), torch.zeros(1, 12, 9, 9)
    moved[..., 2, 2] = 5.0  # a change of one position spreads: the decoder is no linear map of it
    changed = (single([maps]) != single([maps + moved])).any(1)[0]
    assert changed.view(9, 4, 9, 4).any(3).any(1).nonzero().max() > 3


def test_fusion_upsamples_the_deeper_maps_of_hierarchical_encoders() -> None:
    decoder = MultiHierarchyFusion((6, 12, 24), levels=3, width=None, layers=1, patch_size=4)
    maps = [torch.randn(1, 6, 8, 12), torch.randn(1, 12, 4, 6), torch.randn(1, 24, 2, 3)]
    prediction = decoder(maps)
    assert prediction.shape == (1, 3, 32, 48)
    torch.testing.assert_close(prediction, plain_fusion(decoder, maps), atol=1e-5, rtol=1e-5)


def test_gradient_reaches_every_level_and_parameter() -> None:
    decoder = MultiHierarchyFusion(8, levels=4, width=4, patch_size=2)
    maps = [torch.randn(1, 8, 3, 2, requires_grad=True) for _ in range(4)]
    decoder(maps).square().mean().backward()
    assert all(level.grad.abs().sum() > 0 for level in maps)
    assert all(p.grad is not None for p in decoder.parameters())


@pytest.mark.parametrize(
    ("channels", "width", "layers", "millions"),
    [(384, None, 2, 12.24), (384, None, 1, 8.26), (384, 128, 2, 1.62), (768, 192, 2, 3.73)],
)
def test_decoder_sizes(channels: int, width: int | None, layers: int, millions: float) -> None:
    with torch.device("meta"):
        decoder = MultiHierarchyFusion(channels, width=width, layers=layers)
    parameters = sum(p.numel() for p in decoder.parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.006)


def test_fusion_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="one entry of in_channels"):
        MultiHierarchyFusion((8, 8), levels=3)
    with pytest.raises(ValueError, match="built for 2 levels and got 1"):
        MultiHierarchyFusion(8, levels=2)([torch.randn(1, 8, 2, 2)])


def test_tokens_to_map_keeps_raster_order() -> None:
    tokens = torch.arange(6).reshape(1, 6, 1)
    assert tokens_to_map(tokens, (2, 3))[0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="6 tokens do not fill"):
        tokens_to_map(tokens, (2, 2))


def test_projector_is_mocov3s() -> None:
    projector = ProjectionMLP(768)
    names = [type(layer).__name__ for layer in projector.layers]
    assert names == ["Linear", "SyncBatchNorm1d", "ReLU"] * 2 + ["Linear", "SyncBatchNorm1d"]
    assert not projector.layers[-1].affine
    assert sum(p.numel() for p in projector.parameters()) == 20_987_904
    predictor = ProjectionMLP(256, num_layers=2)
    assert sum(p.numel() for p in predictor.parameters()) == 2_105_344


@pytest.mark.parametrize("distance", ["l1", "l2", "smooth_l1"])
def test_pixel_loss(distance: str) -> None:
    prediction, target = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    difference = (prediction - target).abs().double()
    expected = {
        "l1": difference.mean(),
        "l2": difference.square().mean(),
        "smooth_l1": (0.5 * difference.square()).mean(),
    }[distance]
    assert PixelLoss(distance)(prediction, target).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_pixel_loss_refuses_other_shapes_and_names() -> None:
    with pytest.raises(ValueError, match="patch_size"):
        PixelLoss()(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="use one of"):
        PixelLoss("l3")
