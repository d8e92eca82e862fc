"""A page that shows what a run did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmvitssl.engine.provenance import describe_run
from mmvitssl.engine.sharding import is_sharded
from mmvitssl.models.algorithms.pretrainer import Pretrainer, draw_pictures
from mmvitssl.registry import HOOKS
from mmvitssl.visualization.run_report import FACTS, write_run_report
from mmvitssl.visualization.sheets import captioned

PAGE = "report.html"


@HOOKS.register_module()
class ReportHook(Hook):
    """Write ``report.html`` into the work folder when the training ends.

    Before the first step, ``run.json`` is written beside the log: config, recipe, command, code,
    machine. At the end, views and pictures of each pretext task are drawn of the first images of
    the training. A run that was cut off has no page; ``mmvitssl report FOLDER`` writes it.

    Args:
        rows: images per picture.
    """

    priority = "LOWEST"  # after the last log line

    def __init__(self, rows: int = 4) -> None:
        self.rows = rows
        self._batch: dict[str, Any] | None = None

    def before_train(self, runner: Runner) -> None:
        if is_main_process():
            text = json.dumps(describe_run(runner), indent=1, default=str)
            (Path(runner.log_dir) / FACTS).write_text(text, encoding="utf-8")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._batch is None and is_main_process() and self._draws(runner):
            samples = data_batch["samples"].items()
            self._batch = {
                "views": [view[: self.rows].cpu() for view in data_batch["views"]],
                "samples": {key: value[: self.rows] for key, value in samples},
            }

    def after_train(self, runner: Runner) -> None:
        if not is_main_process():
            return
        if self._batch is not None:
            self._draw(runner, self._batch)
        path = write_run_report([Path(runner.work_dir)], Path(runner.work_dir) / PAGE)
        runner.logger.info(f"Report: {path}")

    @staticmethod
    def _draws(runner: Runner) -> bool:
        return isinstance(_bare(runner), Pretrainer) and not is_sharded(runner.model)

    def _draw(self, runner: Runner, batch: dict[str, Any]) -> None:
        model = _bare(runner)
        assert isinstance(model, Pretrainer)
        views = {
            f"view {number + 1}": view.float() / 255 for number, view in enumerate(batch["views"])
        }
        first = batch["views"][0].shape
        same = {name: view for name, view in views.items() if view.shape == first}
        pictures = {"views": same if first[1] == 3 else {}, **draw_pictures(model, batch)}
        for name, columns in pictures.items():
            if columns:
                sheet = np.asarray(captioned(columns, self.rows))
                runner.visualizer.add_image(name, sheet, step=runner.iter)


def _bare(runner: Runner) -> torch.nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
