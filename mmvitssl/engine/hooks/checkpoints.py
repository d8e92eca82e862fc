"""Checkpoints that are never worse than those they replace."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmvitssl.engine.hooks.finite import NonFiniteHook, non_finite_metrics
from mmvitssl.registry import HOOKS


@HOOKS.register_module()
class FiniteCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook, which looks at the weights before it writes or removes a file.

    Weights or optimizer states that are not finite end the training with an error
    (:class:`~mmvitssl.engine.hooks.finite.NonFiniteHook`), and older checkpoints stay. With
    ``save_best``, a metric that is NaN or infinite never counts as better.

    Args:
        args, kwargs: see :class:`mmengine.hooks.CheckpointHook`.
    """

    def _check(self, runner: Runner) -> None:
        hooks = [hook for hook in runner.hooks if isinstance(hook, NonFiniteHook)]
        (hooks[0] if hooks else NonFiniteHook()).check_weights(runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        self._check(runner)
        super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        wrong = non_finite_metrics(metrics)
        if self.save_best:
            self._check(runner)
            if set(wrong) & {*self.key_indicators, next(iter(metrics))}:
                runner.logger.warning(
                    f"The best checkpoint stays: {', '.join(wrong)} of this one is not finite."
                )
        # no comparison with NaN is true, while infinity would be the best of all
        super()._save_best_checkpoint(runner, {**metrics, **dict.fromkeys(wrong, math.nan)})
