"""Feature pyramids over maps of one stride."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope

from mmvitssl.models.necks import ScalePyramid, SimpleFeaturePyramid
from mmvitssl.registry import MODELS


def maps(channels: int = 32, size: tuple[int, int] = (6, 4), number: int = 4) -> list[torch.Tensor]:
    return [torch.randn(2, channels, *size) for _ in range(number)]


@pytest.mark.parametrize("norm", ["BN", "GN", "SyncBN"])
def test_scale_pyramid_gives_four_strides(norm: str) -> None:
    pyramid = ScalePyramid(32, norm_cfg=dict(type=norm)).eval()
    levels = maps()
    out = pyramid(levels)
    assert [tuple(level.shape) for level in out] == [
        (2, 32, 24, 16),
        (2, 32, 12, 8),
        (2, 32, 6, 4),
        (2, 32, 3, 2),
    ]
    assert torch.equal(out[2], levels[2])
    assert torch.equal(out[3], F.max_pool2d(levels[3], 2))


def test_scale_pyramid_is_the_published_chain_of_layers() -> None:
    pyramid = ScalePyramid(8, norm_cfg=dict(type="BN")).train()
    level = torch.randn(2, 8, 3, 5)
    first, norm, _, second = pyramid.rescale[0]
    hidden = F.conv_transpose2d(level, first.weight, first.bias, stride=2)
    hidden = F.gelu(F.batch_norm(hidden, None, None, norm.weight, norm.bias, training=True))
    expected = F.conv_transpose2d(hidden, second.weight, second.bias, stride=2)
    torch.testing.assert_close(pyramid([level] * 4)[0], expected)


def test_scale_pyramid_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="scales may hold"):
        ScalePyramid(8, scales=(3.0,))
    with pytest.raises(ValueError, match="4 scales but got 3 maps"):
        ScalePyramid(8)(maps(8, number=3))


def test_scale_pyramid_before_mmdets_fpn() -> None:
    pytest.importorskip("mmdet")
    from mmdet.registry import MODELS as DETECTION
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    init_default_scope("mmdet")
    neck = DETECTION.build(
        [
            dict(type="mmvitssl.ScalePyramid", in_channels=32, norm_cfg=dict(type="BN")),
            dict(type="mmdet.FPN", in_channels=[32] * 4, out_channels=16, num_outs=5),
        ]
    )
    strides = [tuple(level.shape[1:]) for level in neck(maps())]
    assert strides == [(16, 24, 16), (16, 12, 8), (16, 6, 4), (16, 3, 2), (16, 2, 1)]


def test_simple_feature_pyramid_uses_the_last_map_alone() -> None:
    pyramid = MODELS.build(dict(type="SimpleFeaturePyramid", in_channels=32, out_channels=16))
    levels = maps()
    out = pyramid(levels)
    assert [tuple(level.shape[1:]) for level in out] == [
        (16, 24, 16),
        (16, 12, 8),
        (16, 6, 4),
        (16, 3, 2),
        (16, 2, 1),
    ]
    alone = pyramid([torch.zeros_like(level) for level in levels[:3]] + [levels[3]])
    assert all(torch.equal(a, b) for a, b in zip(out, alone, strict=True))
    assert torch.equal(out[4], F.max_pool2d(out[3], 1, stride=2))


def test_simple_feature_pyramid_normalises_over_channels_at_each_place() -> None:
    pyramid = SimpleFeaturePyramid(32, 16)
    level = pyramid(maps())[1]
    torch.testing.assert_close(level.mean(1), torch.zeros(2, 12, 8), atol=1e-5, rtol=0)
    spread = level.var(1, unbiased=False)
    torch.testing.assert_close(spread, torch.ones(2, 12, 8), atol=2e-3, rtol=0)
    assert pyramid.levels[2][0].bias is None  # convolutions before a norm have none


def test_simple_feature_pyramid_without_the_sixth_level() -> None:
    assert len(SimpleFeaturePyramid(32, 16, num_outs=4)(maps())) == 4
    with pytest.raises(ValueError, match="num_outs"):
        SimpleFeaturePyramid(32, 16, num_outs=6)
