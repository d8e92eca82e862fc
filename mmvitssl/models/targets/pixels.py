"""Pixels of masked patches as the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmvitssl.models.targets.base import Target
from mmvitssl.models.targets.patches import take_patches
from mmvitssl.registry import MODELS
from mmvitssl.structures import MaskedPatches

if TYPE_CHECKING:
    from mmvitssl.models.algorithms.step import PretrainStep

EPSILON = 1e-6  # inside the root, as in MAE's official code


def _statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each patch over all its values; the variance is the unbiased one."""
    deviation = (patches.var(dim=-1, keepdim=True) + EPSILON).sqrt()
    return patches.mean(dim=-1, keepdim=True), deviation


@MODELS.register_module()
class PixelTarget(Target):
    """Pixels of the normalised image, each patch normalised by itself or not.

    Args:
        patch_size: side of a patch in pixels; the encoder's.
        channels: of the images; the encoder's ``in_channels``.
        normalise: per-patch normalisation (MAE, section 3; LoMaR) or raw values (SimMIM, CAE's
            RGB target).
    """

    def __init__(self, patch_size: int = 16, normalise: bool = True, channels: int = 3) -> None:
        super().__init__()
        self.patch_size, self.normalise, self.channels = patch_size, normalise, channels
        self.out_channels = channels * patch_size**2

    def check(self, step: PretrainStep, view: int, grid: tuple[int, int]) -> None:
        """Raise ValueError unless the patches are the encoder's."""
        size = step.view(view).size
        if (size[0] // self.patch_size, size[1] // self.patch_size) != tuple(grid):
            raise ValueError(
                f"PixelTarget.patch_size={self.patch_size} gives another grid than the encoder's "
                f"{tuple(grid)} for images of {size}: use the encoder's patch_size."
            )

    @torch.no_grad()
    def forward(self, step: PretrainStep, view: int, masked: MaskedPatches) -> Tensor:
        """(T, P * P * C) float32."""
        patches = take_patches(step.view(view).images, self.patch_size, masked).float()
        if not self.normalise:
            return patches
        mean, deviation = _statistics(patches)
        return (patches - mean) / deviation

    def to_pixels(
        self, prediction: Tensor, step: PretrainStep, view: int, masked: MaskedPatches
    ) -> Tensor:
        """Predictions as (T, P * P * C) pixels in [0, 1].

        Normalised predictions have no colour of their own: they get the true mean and deviation of
        their patches, as in the pictures of MAE and LoMaR.
        """
        values = prediction.float()
        if self.normalise:
            truth = take_patches(step.view(view).images, self.patch_size, masked).float()
            mean, deviation = _statistics(truth)
            values = values * deviation + mean
        pixels = step.view(view).to_pixels(values.view(len(values), -1, self.channels))
        return pixels.clamp(0, 1).flatten(1)
