"""Losses on latents."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.registry import MODELS

DISTANCES = ("smooth_l1", "l1", "l2", "cosine")


@MODELS.register_module()
class LatentLoss(nn.Module):
    """Distance of predicted and target features, mean over patches and channels.

    Args:
        distance: 'smooth_l1' (I-JEPA with ``beta`` 1, data2vec with 2), 'l1', 'l2', or 'cosine':
            one minus the similarity.
        beta: where 'smooth_l1' goes from squares to absolute values.

    Raises:
        ValueError: an unknown distance, or a ``beta`` that is not positive.
    """

    def __init__(self, distance: str = "smooth_l1", beta: float = 1.0) -> None:
        super().__init__()
        if distance not in DISTANCES or beta <= 0:
            raise ValueError(
                f"LatentLoss needs a distance of {DISTANCES} and a positive beta; got "
                f"'{distance}' and {beta}."
            )
        self.distance, self.beta = distance, beta

    def forward(self, prediction: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        """Compare.

        Args:
            prediction: (T, C).
            target: (T, C).
            weights: (T,) of the patches in the sum; None: the mean.

        Returns:
            scalar.
        """
        prediction, target = prediction.float(), target.float()
        if self.distance == "cosine":
            distances = 1 - F.cosine_similarity(prediction, target, dim=-1)
        elif self.distance == "smooth_l1":
            distances = F.smooth_l1_loss(prediction, target, reduction="none", beta=self.beta)
        elif self.distance == "l1":
            distances = (prediction - target).abs()
        else:
            distances = (prediction - target).square()
        if distances.ndim > 1:
            distances = distances.mean(dim=-1)
        return distances.mean() if weights is None else (distances * weights).sum()

    @torch.no_grad()
    def metrics(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Cosine similarity, and the deviation of the targets over patches: 0 after a collapse."""
        similarity = F.cosine_similarity(prediction.float(), target.float(), dim=-1)
        deviation = target.float().std(dim=0, correction=0).mean()
        return {"similarity": similarity.mean(), "target_deviation": deviation}
