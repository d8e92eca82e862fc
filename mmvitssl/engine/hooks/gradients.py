"""Cosine similarity between the gradients of each pair of tasks."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmvitssl.registry import HOOKS


@HOOKS.register_module()
class GradientCosineHook(Hook):
    """Log the cosine of each two tasks' gradients every few iterations.

    ``cosine_<a>_<b>`` below 0 says that the tasks conflict; it is NaN where a task has no gradient
    in a batch. Gradients are those by the parameters of the deepest block of the encoder before
    everything that tasks read, averaged over processes. A look costs a backward pass of every task
    through its head and the blocks down to that one.

    Args:
        interval: iterations between looks.
    """

    def __init__(self, interval: int = 100) -> None:
        if interval < 1:
            raise ValueError(f"GradientCosineHook.interval={interval} must be at least 1.")
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Raises ValueError if no block of the encoder is trained."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.trunk.check("GradientCosineHook")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.watch_gradients = (runner.iter + 1) % self.interval == 0

    def after_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.watch_gradients = False
