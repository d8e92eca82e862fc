"""Losses on pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.arguments import check_choice
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
        check_choice("PixelLoss.distance", distance, DISTANCES)
        self.distance = distance

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Images (B, 3, H, W) or patches (T, D), both of one shape -> scalar.

        Raises:
            ValueError: the shapes differ.
        """
        if prediction.shape != target.shape:
            raise ValueError(
                f"The prediction has the shape {tuple(prediction.shape)} and the target "
                f"{tuple(target.shape)}: patch_size or out_channels of the neck must be what the "
                f"encoder and the target have."
            )
        return DISTANCES[self.distance](prediction.float(), target.float())

    def metrics(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Nothing beside the loss."""
        return {}
