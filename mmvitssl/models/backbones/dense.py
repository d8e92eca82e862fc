"""Encoders as backbones of dense predictors (mmdet, mmseg)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.models.necks.tokens import tokens_to_map
from mmvitssl.registry import MODELS


@MODELS.register_module()
class DenseFeatures(nn.Module):
    """Feature maps of a plain Vision Transformer for detectors and segmentors.

    The encoder stays as it was pretrained; this module only pads images to the patch, asks for the
    outputs of some blocks and reshapes them. Parameters that the maps do not depend on (the final
    norm, blocks behind the last level) do not run and are frozen, so that distributed training
    finds no unused parameter.

    Args:
        encoder: config of a :class:`~mmvitssl.models.backbones.vit.ViT`.
        levels: zero-based blocks to return, ascending; CAE and BEiT use 3, 5, 7, 11 of 12.

    Raises:
        ValueError: ``levels`` are empty or not ascending.
    """

    # the maps do not depend on it, and fine-tuned models with mean pooling have none
    unused_state = ("norm.",)

    def __init__(self, encoder: dict[str, Any], levels: Sequence[int] = (3, 5, 7, 11)) -> None:
        super().__init__()
        if not levels or list(levels) != sorted(set(levels)):
            raise ValueError(f"DenseFeatures.levels must be ascending and not empty: {levels}.")
        self.levels = tuple(levels)
        self.encoder = MODELS.build(encoder)
        self.encoder.norm.requires_grad_(False)
        for block in self.encoder.blocks[self.levels[-1] + 1 :]:
            block.requires_grad_(False)

    @property
    def embed_dim(self) -> int:
        """Channels of every map."""
        return self.encoder.embed_dim

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """Layer of a parameter and number of layers; see :meth:`ViT.get_layer_depth`."""
        return self.encoder.get_layer_depth(name.removeprefix("encoder."))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode.

        Args:
            images: (B, 3, H, W), normalised; padded with zeros on the right and below to a
                multiple of the patch size.

        Returns:
            one (B, C, ceil(H / P), ceil(W / P)) map a level.
        """
        patch = self.encoder.patch_size
        pad = [-side % patch for side in (images.shape[-1], images.shape[-2])]
        if any(pad):
            images = F.pad(images, (0, pad[0], 0, pad[1]))
        grid = self.encoder.grid_of((images.shape[-2], images.shape[-1]))
        features = self.encoder.forward_levels(images, self.levels)
        return tuple(tokens_to_map(features[level], grid) for level in self.levels)
