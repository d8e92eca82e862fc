"""Losses on visual tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.registry import MODELS


@MODELS.register_module()
class TokenLoss(nn.Module):
    """Cross-entropy of predicted ids, mean over all masked patches of the batch (BEiT, CAE)."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(T, vocabulary) logits and (T,) ids -> scalar.

        Raises:
            TypeError: the target holds no ids.
        """
        if target.dtype != torch.long:
            raise TypeError("TokenLoss needs ids: set the task's target to a TokenTarget.")
        return F.cross_entropy(prediction.float(), target)

    @torch.no_grad()
    def metrics(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Share of ids that are right."""
        return {"accuracy": (prediction.argmax(dim=-1) == target).float().mean()}
