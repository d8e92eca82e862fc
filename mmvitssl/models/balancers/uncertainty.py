"""Learned weights of losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmvitssl.arguments import check_choice
from mmvitssl.models.balancers.base import Balanced
from mmvitssl.models.balancers.gradients import Trunk
from mmvitssl.registry import MODELS

# kind of likelihood -> (factor a, exponent e) of a * exp(-e * s) * loss + s / 2, with s = log of
# the squared scale: cross entropy, Gaussian and Laplace of Kendall et al., 2018.
LIKELIHOODS = {"classification": (1.0, 1.0), "gaussian": (0.5, 1.0), "laplace": (1.0, 0.5)}


@MODELS.register_module()
class UncertaintyWeights(nn.Module):
    """Weigh each loss by its learned homoscedastic uncertainty (Kendall et al., 2018).

    With s the logarithm of a loss's squared scale, the terms are ``exp(-s) L + s/2`` for
    classification, ``exp(-s) L / 2 + s/2`` for squared and ``exp(-s/2) L + s/2`` for absolute
    errors. RePre (equation 4) learns its two weights so. A loss that can be negative has no
    minimum in s: give such losses a non-negative form.

    The s need a learning rate of their own in short runs and no weight decay: name ``balancer`` in
    the ``custom_keys`` of the optimizer's ``paramwise_cfg``.

    Args:
        likelihoods: for each task its kind: 'classification', 'gaussian' or 'laplace'.
        initial: s at the start; 0 makes the weights 1 (gaussian: 1/2).

    Raises:
        ValueError: an unknown kind.
    """

    def __init__(self, likelihoods: Mapping[str, str], initial: float = 0.0) -> None:
        super().__init__()
        for task, kind in likelihoods.items():
            check_choice(f"UncertaintyWeights.likelihoods['{task}']", kind, LIKELIHOODS)
        self.likelihoods = dict(likelihoods)
        self.log_variance = nn.ParameterDict(
            {task: nn.Parameter(torch.full((), float(initial))) for task in likelihoods}
        )

    def check(self, tasks: list[str]) -> None:
        """Raise ValueError unless there is one likelihood for each task and no other."""
        if set(tasks) != set(self.likelihoods):
            raise ValueError(
                f"UncertaintyWeights.likelihoods name {sorted(self.likelihoods)}, but the tasks "
                f"are {sorted(tasks)}: give each task its likelihood."
            )

    def forward(
        self, losses: dict[str, Tensor], trunk: Trunk | None = None, levels: Sequence[Tensor] = ()
    ) -> dict[str, Balanced]:
        """Scalars by task -> weighted terms and weights by task."""
        balanced = {}
        for task, loss in losses.items():
            factor, exponent = LIKELIHOODS[self.likelihoods[task]]
            s = self.log_variance[task]
            weight = factor * torch.exp(-exponent * s)
            balanced[task] = Balanced(term=weight * loss + 0.5 * s, weight=weight.detach())
        return balanced
