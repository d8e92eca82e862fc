"""Maps: where tokens go, and what mmcv's operators need."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from mmcv.ops import RoIAlign

from mmvitssl.models.backbones import DenseFeatures
from mmvitssl.models.necks.tokens import tokens_to_map

VIT = dict(
    type="ViT", arch=dict(embed_dim=8, depth=4, num_heads=2), patch_size=16, image_size=(128, 96)
)
SWIN = dict(
    type="SwinTransformer", window_size=4,
    arch=dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2)),
)  # fmt: skip


def test_tokens_lie_in_raster_order_and_are_not_copied() -> None:
    tokens = torch.randn(2, 8 * 6, 5)
    maps = tokens_to_map(tokens, (8, 6))
    assert torch.equal(maps[1, :, 3, 2], tokens[1, 3 * 6 + 2])
    assert maps.data_ptr() == tokens.data_ptr()
    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert tokens_to_map(maps, (8, 6)) is maps
    with pytest.raises(ValueError, match="48 tokens do not fill a grid of 8x7"):
        tokens_to_map(tokens, (8, 7))


@pytest.mark.parametrize(("encoder", "levels"), [(VIT, (0, 1, 2, 3)), (SWIN, (1, 2, 3))])
def test_maps_are_read_rightly_by_roi_align_on_cpu(
    encoder: dict[str, Any], levels: tuple[int, ...]
) -> None:
    """mmcv's CPU operator silently misreads maps with channels-last strides."""
    with torch.no_grad():
        maps = DenseFeatures(encoder, levels=levels)(torch.randn(2, 3, 128, 96))[0]
    assert maps.is_contiguous()
    regions = torch.tensor([[0, 4.0, 8.0, 60.0, 70.0], [1, 0.0, 10.0, 90.0, 40.0]])
    pooled = RoIAlign(7, spatial_scale=1 / 16, sampling_ratio=2, aligned=True)(maps, regions)
    expected = torchvision.ops.roi_align(maps, regions, 7, 1 / 16, 2, True)
    torch.testing.assert_close(pooled, expected)
