"""Tells the model how far the training is."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmvitssl.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Call ``set_progress(fraction of iterations done)`` of the model before each iteration."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.set_progress(runner.iter / max(runner.max_iters, 1))
