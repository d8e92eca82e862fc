"""Global generators that begin each iteration from a seed of its own."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmvitssl.distributed import rank
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.randomness import seed_step
from mmvitssl.registry import HOOKS


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seed Python's, numpy's and torch's global generators before each training iteration.

    The seed derives from the training's, the process's rank and the iteration, so that a resumed
    detector draws the boxes, and a segmentor the dropout, of one that was not interrupted. A
    pretraining model gets the number of its iteration.
    ``tools/train.py`` adds this hook to every training.
    """

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        seed_step(runner.seed or 0, rank(), runner.iter)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if isinstance(model, Pretrainer):
            model.iteration = runner.iter
