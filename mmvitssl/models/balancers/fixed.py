"""Fixed weights of losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmvitssl.models.balancers.base import Balanced
from mmvitssl.models.balancers.gradients import Trunk
from mmvitssl.registry import MODELS


@MODELS.register_module()
class FixedWeights(nn.Module):
    """Multiply each task's loss by a constant.

    Args:
        weights: factor by task; tasks that are not named count 1.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.weights = dict(weights or {})

    def check(self, tasks: list[str]) -> None:
        """Raise ValueError if a weight is for no task."""
        strangers = sorted(set(self.weights) - set(tasks))
        if strangers:
            raise ValueError(
                f"FixedWeights.weights name {strangers}, but the tasks are {sorted(tasks)}."
            )

    def forward(
        self, losses: dict[str, Tensor], trunk: Trunk | None = None, levels: Sequence[Tensor] = ()
    ) -> dict[str, Balanced]:
        """Scalars by task -> weighted terms and weights by task."""
        weights = {task: self.weights.get(task, 1.0) for task in losses}
        return {
            # filled on the device: a tensor made of a number is copied there and waits
            task: Balanced(weights[task] * loss, torch.full_like(loss.detach(), weights[task]))
            for task, loss in losses.items()
        }
