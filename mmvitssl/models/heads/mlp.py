"""Heads of tasks on tokens: the last layers, and the loss on what they predict."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.arguments import check_choice
from mmvitssl.models.heads.pixel import DISTANCES


class TokenHead(nn.Sequential):
    """MLP with GELU on (..., in_channels), or one linear layer if ``hidden`` is None."""

    def __init__(self, in_channels: int, out_channels: int, hidden: int | None) -> None:
        widths = (in_channels, out_channels) if hidden is None else (in_channels, hidden)
        super().__init__(nn.Linear(*widths))
        if hidden is not None:
            self.extend([nn.GELU(), nn.Linear(hidden, out_channels)])


class ClassHead(TokenHead):
    """Predict a class per token; the loss is cross-entropy."""

    def loss(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(T, classes) and (T,) -> mean cross-entropy in float32, and the accuracy."""
        loss = F.cross_entropy(logits.float(), labels)
        with torch.no_grad():
            accuracy = (logits.argmax(dim=1) == labels).float().mean()
        return loss, {"accuracy": accuracy}


class PixelHead(TokenHead):
    """Predict pixels per token; the loss is their distance to the true ones.

    Args:
        in_channels, out_channels, hidden: see :class:`TokenHead`.
        distance: 'l1', 'l2' or 'smooth_l1'.

    Raises:
        ValueError: an unknown distance.
    """

    def __init__(
        self, in_channels: int, out_channels: int, hidden: int | None, distance: str
    ) -> None:
        super().__init__(in_channels, out_channels, hidden)
        check_choice("distance", distance, DISTANCES)
        self.distance = distance

    def loss(self, pixels: Tensor, target: Tensor) -> Tensor:
        """(T, D) predicted and true pixels -> mean distance in float32."""
        return DISTANCES[self.distance](pixels.float(), target.float())


class ColourHead(TokenHead):
    """Predict colours per token: values, or logits of bins.

    Args:
        in_channels, out_channels, hidden: see :class:`TokenHead`.
        bins: whether the outputs are logits.
    """

    def __init__(self, in_channels: int, out_channels: int, hidden: int | None, bins: bool) -> None:
        super().__init__(in_channels, out_channels, hidden)
        self.bins = bins

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """(T, D) outputs and values or shares of the bins -> (T,) smooth L1 or cross-entropy."""
        if self.bins:
            return -(target * output.float().log_softmax(dim=1)).sum(dim=1)
        return F.smooth_l1_loss(output.float(), target, reduction="none", beta=0.1).mean(dim=1)
