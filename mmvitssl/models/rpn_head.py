"""A region proposal head with normalised convolutions; needs mmdet, name it in custom_imports."""

from __future__ import annotations

from typing import Any

from torch import nn

from mmvitssl.extras import require
from mmvitssl.registry import MODELS

require("mmvitssl.models.rpn_head", "transfer", "mmcv", "mmdet")

from mmcv.cnn import ConvModule  # noqa: E402
from mmdet.models.dense_heads import RPNHead  # noqa: E402


@MODELS.register_module()
class NormedRPNHead(RPNHead):
    """mmdet's RPN head with a norm after each of its convolutions, as in ViTAE's detector.

    mmdet's own builds ``num_convs`` > 1 convolutions without norms, whatever ``norm_cfg`` says.

    Args:
        norm_cfg: the norm, such as ``dict(type='mmvitssl.LN2d')``.
        num_convs: number of 3 x 3 convolutions, each with a norm and ReLU.
        **settings: those of mmdet's ``RPNHead``.
    """

    def __init__(self, norm_cfg: dict[str, Any], num_convs: int = 2, **settings: Any) -> None:
        self.norm_cfg = norm_cfg
        super().__init__(num_convs=num_convs, **settings)

    def _init_layers(self) -> None:
        super()._init_layers()
        widths = [self.in_channels] + [self.feat_channels] * self.num_convs
        self.rpn_conv = nn.Sequential(
            *(
                ConvModule(width, self.feat_channels, 3, padding=1, norm_cfg=self.norm_cfg)
                for width in widths[:-1]
            )
        )
