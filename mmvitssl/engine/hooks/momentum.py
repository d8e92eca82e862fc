"""Moves the momentum target of a pretraining."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmvitssl.registry import HOOKS


@HOOKS.register_module()
class MomentumUpdateHook(Hook):
    """Update the target once an optimizer step, when its config says so.

    With gradient accumulation only the first (``before_forward``) or last (``after_step``)
    iteration of each optimizer step moves the target. Progress is the fraction of the iterations
    of the whole training, so an interrupted and resumed run uses the same momenta.
    """

    priority = "NORMAL"

    def before_train(self, runner: Runner) -> None:
        self._model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._accumulation = getattr(runner.optim_wrapper, "_accumulative_counts", 1)

    def _update(self, runner: Runner) -> None:
        self._model.update_target(runner.iter / max(runner.max_iters, 1))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._model.iteration = runner.iter
        target = self._model.target
        if target is None or runner.iter % self._accumulation:
            return
        if target.when == "before_forward":
            self._update(runner)
        elif target.when == "after_forward":
            self._model.update_after_forward = runner.iter / max(runner.max_iters, 1)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        target = self._model.target
        if target is not None and target.when == "after_step":
            if (runner.iter + 1) % self._accumulation == 0:
                self._update(runner)
