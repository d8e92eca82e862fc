"""Do the tasks pull in one direction?"""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmvitssl.registry import HOOKS


@HOOKS.register_module()
class GradientCosineHook(Hook):
    """Log the cosine of each two tasks' gradients by the encoder's outputs, now and then.

    ``cosine_<a>_<b>`` below 0 says that the tasks conflict. A look costs a backward pass through
    the heads of every task.

    Args:
        interval: iterations between looks.
    """

    def __init__(self, interval: int = 100) -> None:
        if interval < 1:
            raise ValueError(f"GradientCosineHook.interval={interval} must be at least 1.")
        self.interval = interval

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.watch_gradients = (runner.iter + 1) % self.interval == 0

    def after_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.watch_gradients = False
