"""Weights from gradients: the common descent direction of all tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmvitssl.distributed import mean_over_processes
from mmvitssl.models.balancers.base import Balanced
from mmvitssl.models.balancers.gradients import Trunk
from mmvitssl.models.precision import full_precision
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
    """Multiple-gradient descent (MGDA; Sener and Koltun, 2018).

    Weights are the convex combination of least norm of the tasks' gradients: a direction in which
    no task gets worse. Gradients are those by the parameters of one block of the encoder, the
    deepest before everything that tasks read (:class:`Trunk`), averaged over processes: each task
    costs a backward pass through its head and the blocks down to that one, and processes exchange
    one float32 gradient of the block per task. The
    upper bound of the paper (MGDA-UB, gradients by the encoder's output) is of no use here: tasks
    read different tokens, whose gradients never meet.

    Weights change every iteration, are the same on all processes, and sum up to the number of
    tasks, so that learning rates keep their meaning. Where a gradient is 0 or not finite, they
    stay as they were.

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
        """One weight per task."""
        self.last = torch.ones(len(tasks))

    def _scales(self, losses: dict[str, Tensor], products: Tensor) -> Tensor:
        if self.normalise == "loss":
            values = torch.stack([loss.detach().float() for loss in losses.values()])
            return mean_over_processes(values).clamp(min=1e-12)
        if self.normalise == "norm":
            return products.diagonal().sqrt()
        return torch.ones_like(products.diagonal())

    def _update(self, losses: dict[str, Tensor], trunk: Trunk, levels: Sequence[Tensor]) -> None:
        products = trunk.products(losses, levels)
        with full_precision(products.device):
            scales = self._scales(losses, products)
            chosen = least_norm_weights(products / scales[:, None] / scales) / scales
            chosen = chosen / chosen.sum() * len(losses)
            # one decision for all, on the device: a gradient without direction has no weight
            known = chosen.isfinite().all() & (products.diagonal() > 0).all()
            moved = self.last.lerp(chosen.to(self.last), 1 - self.smoothing)
            self.last.copy_(torch.where(known, moved, self.last))

    def forward(
        self, losses: dict[str, Tensor], trunk: Trunk | None = None, levels: Sequence[Tensor] = ()
    ) -> dict[str, Balanced]:
        """Scalars by task and where their gradients meet -> weighted terms and weights by task.

        Raises:
            ValueError: the gradients of the tasks meet nowhere.
        """
        if torch.is_grad_enabled() and trunk is not None and len(losses) > 1:
            self._update(losses, trunk, levels)
        weights = self.last.to(next(iter(losses.values())).device)
        return {
            task: Balanced(term=weights[i] * loss, weight=weights[i].detach().clone())
            for i, (task, loss) in enumerate(losses.items())
        }
