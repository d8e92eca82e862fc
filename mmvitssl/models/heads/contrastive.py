"""Contrastive losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.distributed import gather_without_grad, rank
from mmvitssl.models.necks.mlp import unit
from mmvitssl.registry import MODELS


@MODELS.register_module()
class InfoNCE(nn.Module):
    """Instance discrimination among the keys of the whole batch (MoCo v3, algorithm 1).

    Cross entropy of q . k / T over the L2-normalised keys of all processes, gathered without
    gradient; the positive of query i is key i.

    Args:
        temperature: T; 0.2 for Vision Transformers.
        scale: factor on the loss; MoCo v3 uses 2T.

    Raises:
        ValueError: a temperature that is not positive.
    """

    def __init__(self, temperature: float = 0.2, scale: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"InfoNCE.temperature must be positive, not {temperature}.")
        self.temperature = temperature
        self.scale = scale

    def forward(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Compare.

        Args:
            queries: (B, C); gradients flow into them.
            keys: (B, C); treated as constants.

        Returns:
            the scaled loss, a scalar, and the accuracy in [0, 1] of picking the positive.
        """
        similarity = unit(queries) @ gather_without_grad(unit(keys)).T / self.temperature
        positives = torch.arange(queries.shape[0], device=queries.device)
        positives = positives + queries.shape[0] * rank()
        loss = self.scale * F.cross_entropy(similarity, positives)
        accuracy = (similarity.detach().argmax(dim=1) == positives).float().mean()
        return loss, accuracy
