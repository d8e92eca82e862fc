"""Pictures of what the pretext tasks do, while they train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_rank, get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmvitssl.models.algorithms.pretrainer import draw_pictures
from mmvitssl.registry import HOOKS
from mmvitssl.visualization.sheets import captioned
from mmvitssl.writing import whole


@HOOKS.register_module()
class TaskPicturesHook(Hook):
    """Draw the tasks' pictures of the first training batch, at the start and every few epochs.

    They go to the Visualizer's backends (files under ``vis_data/vis_image``, TensorBoard). While
    testing, each batch of each process is drawn into ``folder`` if there is one.

    Args:
        interval: epochs between pictures; the last epoch is always drawn.
        rows: images a picture.
        folder: where the pictures of a test go.
    """

    def __init__(self, interval: int = 10, rows: int = 6, folder: str | None = None) -> None:
        self.interval = interval
        self.rows = rows
        self.folder = folder
        self._batch: dict[str, Any] | None = None

    @master_only
    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._batch is None:
            self._batch = data_batch
            self._draw(runner, runner.epoch)

    @master_only
    def after_train_epoch(self, runner: Runner) -> None:
        last = runner.epoch + 1 == runner.max_epochs
        if last or self.every_n_epochs(runner, self.interval):
            self._draw(runner, runner.epoch + 1)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self.folder is None:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for task, pictures in draw_pictures(model, data_batch).items():
            if pictures:
                sheet = captioned(pictures, self.rows)
                number = batch_idx * get_world_size() + get_rank()  # each process draws its own
                with whole(Path(self.folder) / f"{task}_{number}.png") as part:
                    sheet.save(part)

    def _draw(self, runner: Runner, epoch: int) -> None:
        assert self._batch is not None
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for task, pictures in draw_pictures(model, self._batch).items():
            if pictures:
                sheet = np.asarray(captioned(pictures, self.rows))
                runner.visualizer.add_image(f"{task}", sheet, step=epoch)
