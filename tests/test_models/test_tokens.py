"""Feature maps as mmcv's operators need them."""

from __future__ import annotations

import torch
import torchvision
from mmcv.ops import RoIAlign

from mmvitssl.models.necks.tokens import tokens_to_map


def test_maps_are_read_rightly_by_roi_align_on_cpu() -> None:
    """mmcv's CPU operator silently misreads maps with channels-last strides."""
    tokens = torch.randn(2, 8 * 6, 5)
    maps = tokens_to_map(tokens, (8, 6))
    assert maps.is_contiguous()
    regions = torch.tensor([[0, 4.0, 8.0, 60.0, 70.0], [1, 0.0, 10.0, 90.0, 40.0]])
    pooled = RoIAlign(7, spatial_scale=1 / 16, sampling_ratio=2, aligned=True)(maps, regions)
    expected = torchvision.ops.roi_align(maps, regions, 7, 1 / 16, 2, True)
    torch.testing.assert_close(pooled, expected)
