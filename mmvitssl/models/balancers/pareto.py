"""Weights from gradients: the common descent direction of all tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmvitssl.distributed import mean_over_processes
from mmvitssl.models.balancers.base import Balanced
from mmvitssl.models.balancers.gradients import gradient_products
from mmvitssl.registry import MODELS


def least_norm_weights(products: Tensor, iterations: int = 100) -> Tensor:
    """(T,) convex weights w of least w' G w for inner products G, by Frank-Wolfe.

    Without asking the device: a fixed number of iterations with closed-form steps.
    """
    tasks = len(products)
    weights = products.new_full((tasks,), 1 / tasks)
    for _ in range(iterations):
        slopes = products @ weights
        corner = torch.nn.functional.one_hot(slopes.argmin(), tasks).to(products.dtype)
        direction = corner - weights
        curvature = direction @ products @ direction
        length = (-(direction @ slopes) / curvature.clamp(min=1e-30)).clamp(0.0, 1.0)
        weights = weights + length * direction
    return weights


@MODELS.register_module()
class ParetoWeights(nn.Module):
    """Multiple-gradient descent with the upper bound of Sener and Koltun, 2018 (MGDA-UB).

    Weights are the convex combination of the tasks' gradients, by the encoder's outputs, of least
    norm: a direction in which no task gets worse. They change every iteration, are the same on
    all processes, and sum up to the number of tasks, so that learning rates keep their meaning.

    Args:
        normalise: divide each gradient by its task's loss first ('loss'), or by its norm
            ('norm'), or not (None). Without, the task of least gradients dominates.
        smoothing: share of the last iteration's weights that is kept; their noise is large.

    Raises:
        ValueError: an unknown normalisation or a share outside [0, 1).
    """

    last: Tensor

    def __init__(self, normalise: str | None = "norm", smoothing: float = 0.9) -> None:
        super().__init__()
        if normalise not in (None, "loss", "norm") or not 0 <= smoothing < 1:
            raise ValueError(
                f"ParetoWeights needs normalise None, 'loss' or 'norm' and 0 <= smoothing < 1; got "
                f"{normalise!r} and {smoothing}."
            )
        self.normalise, self.smoothing = normalise, smoothing
        self.register_buffer("last", torch.zeros(0))

    def check(self, tasks: list[str]) -> None:
        """One weight a task."""
        self.last = torch.ones(len(tasks))

    def _scales(self, losses: dict[str, Tensor], products: Tensor) -> Tensor:
        if self.normalise == "loss":
            values = torch.stack([loss.detach().float() for loss in losses.values()])
            return mean_over_processes(values).clamp(min=1e-12)
        if self.normalise == "norm":
            return products.diagonal().clamp(min=1e-24).sqrt()
        return torch.ones_like(products.diagonal())

    def forward(
        self, losses: dict[str, Tensor], shared: Sequence[Tensor] = ()
    ) -> dict[str, Balanced]:
        """Scalars by task and what the encoder gave -> weighted terms and weights by task."""
        if torch.is_grad_enabled() and shared and shared[0].requires_grad:
            products = mean_over_processes(gradient_products(losses, shared))
            scales = self._scales(losses, products)
            chosen = least_norm_weights(products / scales[:, None] / scales) / scales
            chosen = chosen / chosen.sum().clamp(min=1e-12) * len(losses)
            self.last.lerp_(chosen.to(self.last), 1 - self.smoothing)
        weights = self.last.to(next(iter(losses.values())).device)
        return {
            task: Balanced(term=weights[i] * loss, weight=weights[i].detach().clone())
            for i, (task, loss) in enumerate(losses.items())
        }
