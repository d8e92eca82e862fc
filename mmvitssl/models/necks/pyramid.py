"""From maps of one stride to a pyramid for detectors and segmentors."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn

from mmvitssl.registry import MODELS

SCALES = (4.0, 2.0, 1.0, 0.5)


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
