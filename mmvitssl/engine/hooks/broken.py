"""One budget of unreadable images for all processes."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner

from mmvitssl.datasets.images import ImageFiles
from mmvitssl.distributed import alone
from mmvitssl.registry import HOOKS


@HOOKS.register_module()
class BrokenBudgetHook(Hook):
    """Count the unreadable images of all processes together against the data set's ``max_broken``.

    Processes tell each other at the log's interval and at the end of each epoch; within it each
    counts those that it has met and those that others reported. ``tools/train.py`` adds this hook.
    """

    def before_train(self, runner: Runner) -> None:
        """See the base class."""
        dataset = runner.train_dataloader.dataset
        shared = isinstance(dataset, ImageFiles) and dataset.max_broken and not alone()
        self._dataset = dataset if shared else None
        self._interval = min(
            (hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), default=1
        )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Raises BrokenImageError on all processes if they met too many together."""
        if self._dataset is not None and (
            self.every_n_train_iters(runner, self._interval)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            self._dataset.share_broken()
