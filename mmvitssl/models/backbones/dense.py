"""Encoders as backbones of dense predictors (mmdet, mmseg)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from mmvitssl.models.backbones.contract import Backbone, check_backbone
from mmvitssl.models.necks.tokens import tokens_to_map
from mmvitssl.models.sizes import Levels, resolve_levels
from mmvitssl.registry import MODELS


def freeze_unused(encoder: Backbone, last: int) -> None:
    """Freeze the parameters that the maps up to level ``last`` do not depend on."""
    unused = encoder.unused_after(last)
    for name, parameter in encoder.named_parameters():
        if name.startswith(unused):
            parameter.requires_grad_(False)


def _level_norm(kind: bool | str, channels: int) -> nn.Module:
    """The norm of one map; see :class:`DenseFeatures`."""
    if kind not in (False, True, "plain"):
        raise ValueError(f"DenseFeatures.level_norms may be False, True or 'plain', not {kind!r}.")
    return LayerNorm2d(channels, eps=1e-5, affine=kind is True) if kind else nn.Identity()


@MODELS.register_module()
class DenseFeatures(nn.Module):
    """Feature maps of an encoder for detectors and segmentors.

    The encoder stays as it was pretrained; this module only pads images to the patch, asks for the
    outputs of some blocks (ViT) or stages (Swin) and reshapes them. Parameters that the maps do not
    depend on (the final norm, blocks behind the last level) do not run and are frozen, so that
    distributed training finds no unused parameter.

    Args:
        encoder: config of a :class:`~mmvitssl.models.backbones.vit.ViT` or a
            :class:`~mmvitssl.models.backbones.swin.SwinTransformer`.
        levels: blocks or stages to return, see :func:`~mmvitssl.models.sizes.resolve_levels`.
            CAE and BEiT use ``(1 / 3, 1 / 2, 2 / 3, 1.0)``, blocks 3, 5, 7, 11 of 12 and 7, 11,
            15, 23 of 24; Swin detectors all stages, 4.
        level_norms: whether every map gets a LayerNorm of its own. Swin's detectors and segmentors
            have them, for the outputs of stages are not normed; they start fresh, because
            pretraining knows a norm after the last stage only. 'plain': a LayerNorm without
            parameters, so that maps of any encoder have the same scale (raw outputs of pretrained
            blocks are 5 to 20 times as large as those of random weights).

    Raises:
        ValueError: ``levels`` are empty, not ascending or do not exist, or another ``level_norms``.
    """

    # the maps do not depend on it, and some files have none: those of models with mean pooling,
    # and Swin detectors
    unused_state: tuple[str, ...] = ("norm.",)

    def __init__(
        self,
        encoder: Mapping[str, Any],
        levels: Levels = (1 / 3, 1 / 2, 2 / 3, 1.0),
        level_norms: bool | str = False,
    ) -> None:
        super().__init__()
        self.encoder = check_backbone(MODELS.build(encoder))
        self.levels = resolve_levels("DenseFeatures.levels", levels, self.encoder.spec.depth)
        self.norms = nn.ModuleList(
            _level_norm(level_norms, channels)
            for channels in self.encoder.spec.channels_of(self.levels)
        )
        freeze_unused(self.encoder, self.levels[-1])

    @property
    def embed_dim(self) -> int:
        """Channels of the last map of a whole encoder."""
        return self.encoder.spec.embed_dim

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """Layer of a parameter and number of layers; see :meth:`ViT.get_layer_depth`."""
        return self.encoder.get_layer_depth(name.removeprefix("encoder."))

    def encode(self, images: Tensor) -> dict[int, Tensor]:
        """Outputs of the levels for images of whole patches: tokens or maps."""
        return self.encoder.forward_levels(images, self.levels)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode.

        Args:
            images: (B, 3, H, W), normalised; padded with zeros on the right and below to a
                multiple of the patch size.

        Returns:
            a map for each level: (B, C, ceil(H / P), ceil(W / P)) of a ViT with patch P; stage i of
            a Swin Transformer has (B, C * 2**i, h, w), where h and w are halved, rounded up, from
            stage to stage.
        """
        patch = self.encoder.spec.patch_size
        pad = [-side % patch for side in (images.shape[-1], images.shape[-2])]
        if any(pad):
            images = F.pad(images, (0, pad[0], 0, pad[1]))
        grid = (images.shape[-2] // patch, images.shape[-1] // patch)
        features = self.encode(images)
        maps = (tokens_to_map(features[level], grid) for level in self.levels)
        # contiguous: see tokens_to_map
        return tuple(norm(level).contiguous() for norm, level in zip(self.norms, maps, strict=True))
