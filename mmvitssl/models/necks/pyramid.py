"""From maps of one stride to a pyramid for detectors and segmentors."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.registry import MODELS as ROOT_MODELS
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from mmvitssl.registry import MODELS

SCALES = (4.0, 2.0, 1.0, 0.5)
# a norm over channels, by name for the heads of detectors (``norm_cfg``)
MODELS.register_module("LN2d", module=LayerNorm2d)


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "BN":
        return nn.BatchNorm2d(channels)
    if kind == "SyncBN":
        return nn.SyncBatchNorm(channels)
    if kind == "GN":
        return nn.GroupNorm(32, channels)
    return ROOT_MODELS.build(dict(type=kind, num_features=channels))


def _rescale(channels: int, scale: float, norm: str) -> nn.Module:
    def double() -> nn.Module:
        return nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2)

    if scale == 4:
        return nn.Sequential(double(), _norm(norm, channels), nn.GELU(), double())
    if scale == 2:
        return double()
    if scale == 1:
        return nn.Identity()
    if scale == 0.5:
        return nn.MaxPool2d(kernel_size=2, stride=2)
    raise ValueError(f"ScalePyramid.scales may hold {SCALES}, not {scale}.")


@MODELS.register_module()
class ScalePyramid(nn.Module):
    """Bring four maps of a plain Vision Transformer to strides 4, 8, 16, 32 (BEiT, CAE).

    With a patch of 16: the first map is enlarged by two transposed convolutions with a norm and
    GELU between, the second by one, the third stays, the fourth is max-pooled. Put it before
    mmdet's FPN (``neck=[dict(type='mmvitssl.ScalePyramid', ...), dict(type='FPN', ...)]``) or
    mmseg's UPerHead.

    Args:
        in_channels: channels of every map; they stay.
        scales: enlargement of each map: 4, 2, 1 or 0.5.
        norm_cfg: ``dict(type=...)`` of the norm: 'SyncBN' as published, 'BN' or 'GN'.

    Raises:
        ValueError: another scale.
    """

    def __init__(
        self,
        in_channels: int,
        scales: Sequence[float] = SCALES,
        norm_cfg: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        kind = (norm_cfg or {"type": "SyncBN"})["type"]
        self.scales = tuple(scales)
        self.rescale = nn.ModuleList(_rescale(in_channels, scale, kind) for scale in scales)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(B, C, h, w) maps -> (B, C, scale * h, scale * w) maps.

        Raises:
            ValueError: another number of maps than scales.
        """
        if len(maps) != len(self.scales):
            raise ValueError(
                f"ScalePyramid has {len(self.scales)} scales but got {len(maps)} maps: give the "
                f"backbone as many levels."
            )
        return tuple(layer(level) for layer, level in zip(self.rescale, maps, strict=True))


def _simple_level(
    channels: int, scale: float, out_channels: int, full_width: bool, eps: float
) -> nn.Sequential:
    half, quarter = (channels, channels) if full_width else (channels // 2, channels // 4)
    if scale == 4:
        width = quarter
        rescale: list[nn.Module] = [
            nn.ConvTranspose2d(channels, half, kernel_size=2, stride=2),
            LayerNorm2d(half),
            nn.GELU(),
            nn.ConvTranspose2d(half, width, kernel_size=2, stride=2),
        ]
    elif scale == 2:
        width = half
        rescale = [nn.ConvTranspose2d(channels, width, kernel_size=2, stride=2)]
    else:
        width = channels
        rescale = [nn.MaxPool2d(kernel_size=2, stride=2)] if scale == 0.5 else []
    return nn.Sequential(
        *rescale,
        nn.Conv2d(width, out_channels, kernel_size=1, bias=False),
        LayerNorm2d(out_channels, eps=eps),
        nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(out_channels, eps=eps),
    )


@MODELS.register_module()
class SimpleFeaturePyramid(nn.Module):
    """All levels from the last map alone (Li et al., 2022: ViTDet), in place of an FPN.

    Args:
        in_channels: channels of the map; 4 must divide them.
        out_channels: channels of every level.
        num_outs: 4 levels (strides 4 to 32 with a patch of 16), or 5 with a subsampled last one.
        full_width: whether enlarged maps keep all channels, as in ViTAE's detector, which LoMaR
            used; ViTDet's have a half and a quarter of them.
        norm_eps: epsilon of the norms after convolutions; 1e-5 in ViTAE's detector.

    Raises:
        ValueError: another number of levels, or channels that 4 does not divide.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        num_outs: int = 5,
        full_width: bool = False,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if num_outs not in (4, 5):
            raise ValueError(f"SimpleFeaturePyramid.num_outs must be 4 or 5, not {num_outs}.")
        if in_channels % 4:
            raise ValueError(f"SimpleFeaturePyramid.in_channels={in_channels} must divide by 4.")
        self.num_outs = num_outs
        self.levels = nn.ModuleList(
            _simple_level(in_channels, scale, out_channels, full_width, norm_eps)
            for scale in SCALES
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(B, C, h, w) maps, of which the last counts -> (B, out_channels, s * h, s * w) maps.

        The scales s are 4, 2, 1, 1/2 and, with five levels, 1/4.
        """
        # contiguous: norms over channels leave channels-last strides; see tokens_to_map
        out = [level(maps[-1]).contiguous() for level in self.levels]
        if self.num_outs == 5:
            out.append(F.max_pool2d(out[-1], kernel_size=1, stride=2))
        return tuple(out)
