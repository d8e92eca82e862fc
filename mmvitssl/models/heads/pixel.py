"""Losses on pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.registry import MODELS

DISTANCES: dict[str, Callable[..., Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "smooth_l1": F.smooth_l1_loss,
}


@MODELS.register_module()
class PixelLoss(nn.Module):
    """Mean distance between a predicted and a true image over all pixels (RePre, equation 3).

    Args:
        distance: 'l1', 'l2' or 'smooth_l1'.

    Raises:
        ValueError: an unknown distance.
    """

    def __init__(self, distance: str = "l1") -> None:
        super().__init__()
        if distance not in DISTANCES:
            raise ValueError(
                f"PixelLoss.distance='{distance}' is unknown; use one of {sorted(DISTANCES)}."
            )
        self.distance = distance

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(B, 3, H, W) both -> scalar.

        Raises:
            ValueError: the shapes differ.
        """
        if prediction.shape != target.shape:
            raise ValueError(
                f"The decoder predicts {tuple(prediction.shape)} for images of "
                f"{tuple(target.shape)}: its patch_size must be the encoder's stride at the "
                f"shallowest level."
            )
        return DISTANCES[self.distance](prediction.float(), target.float())
