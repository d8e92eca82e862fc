"""What changes over a training beside the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmvitssl.registry import HOOKS


@HOOKS.register_module()
class WeightDecayHook(Hook):
    """Move the weight decay along half a cosine to ``end`` (DINO: from 0.04 to 0.4).

    Groups without weight decay keep none. The values depend on the iteration only, so an
    interrupted and resumed run has the same.

    Args:
        end: weight decay at the end of training.
    """

    def __init__(self, end: float) -> None:
        if end < 0:
            raise ValueError(f"WeightDecayHook.end={end} is negative.")
        self.end = end
        self._starts: list[float] = []

    def before_train(self, runner: Runner) -> None:
        groups = runner.optim_wrapper.optimizer.param_groups
        # a resumed optimizer brings its last values; the first ones were put beside them
        self._starts = [group.setdefault("first_weight_decay", group["weight_decay"])
                        for group in groups]  # fmt: skip

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        share = 0.5 * (1 + math.cos(math.pi * runner.iter / max(runner.max_iters, 1)))
        groups = runner.optim_wrapper.optimizer.param_groups
        for group, start in zip(groups, self._starts, strict=True):
            if start:
                group["weight_decay"] = self.end + (start - self.end) * share


@HOOKS.register_module()
class FreezeHook(Hook):
    """Leave some parameters as they are for the first epochs (DINO: the prototypes, one epoch).

    Their gradients are computed, so that distributed training misses none, and dropped before the
    optimizer's step.

    Args:
        names: parts of parameter names.
        epochs: how long; a part of an epoch is rounded down to iterations.
    """

    def __init__(self, names: str | Sequence[str], epochs: float = 1) -> None:
        self.names = (names,) if isinstance(names, str) else tuple(names)
        self.epochs = epochs

    def before_train(self, runner: Runner) -> None:
        """Raises ValueError if nothing has such a name, or the optimizer wrapper cannot do it."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._parameters = [
            parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and any(part in name for part in self.names)
        ]
        if not self._parameters:
            raise ValueError(
                f"FreezeHook: no trained parameter has one of {self.names} in its name."
            )
        if not hasattr(runner.optim_wrapper, "frozen"):
            raise ValueError("FreezeHook needs optim_wrapper.type='AutocastOptimWrapper'.")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        # an iteration-based loop calls all of its training one epoch
        frozen = runner.iter < int(self.epochs * max(len(runner.train_dataloader), 1))
        runner.optim_wrapper.frozen = list(self._parameters) if frozen else []
