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

from mmvitssl.engine.outputs import tolerated
from mmvitssl.engine.provenance import describe_run
from mmvitssl.engine.sharding import is_sharded
from mmvitssl.evaluation.features import evaluating
from mmvitssl.models.algorithms.pretrainer import Pretrainer, draw_pictures
from mmvitssl.models.display import displayed
from mmvitssl.randomness import all_seeded
from mmvitssl.registry import HOOKS
from mmvitssl.visualization.attention import attention_pictures
from mmvitssl.visualization.run_report import FACTS, write_run_report
from mmvitssl.visualization.sheets import captioned, enlarged
from mmvitssl.writing import write_text

PAGE = "report.html"


@HOOKS.register_module()
class ReportHook(Hook):
    """Write ``report.html`` into the work folder when the training ends.

    Before the first step, ``run.json`` is written beside the log: config, recipe, command, code,
    machine. Of the first images of the training are drawn: the views; before the first step, in the
    middle and at the end the pictures of each pretext task, such as reconstructions, and the
    attention of the class token. The training does not notice: modes and random states are
    restored. A run that was cut off has no page; ``mmvitssl report FOLDER`` writes it.

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
            path = Path(runner.log_dir) / FACTS
            with tolerated(runner, path):
                write_text(path, text)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._batch is None and is_main_process() and self._draws(runner):
            samples = data_batch["samples"].items()
            self._batch = {
                "views": [view[: self.rows].cpu() for view in data_batch["views"]],
                "samples": {key: value[: self.rows] for key, value in samples},
            }
            self._draw_views(runner, self._batch["views"])
            self._draw(runner, self._batch, runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        done = runner.iter + 1
        if self._batch is not None and done == runner.max_iters // 2:
            self._draw(runner, self._batch, done)

    def after_train(self, runner: Runner) -> None:
        if not is_main_process():
            return
        if self._batch is not None:
            self._draw(runner, self._batch, runner.iter)
        path = Path(runner.work_dir) / PAGE
        with tolerated(runner, path):
            write_run_report([Path(runner.work_dir)], path)
            runner.logger.info(f"Report: {path}")

    @staticmethod
    def _draws(runner: Runner) -> bool:
        return isinstance(_bare(runner), Pretrainer) and not is_sharded(runner.model)

    def _draw_views(self, runner: Runner, views: list[torch.Tensor]) -> None:
        """Draw the views that are as large as the first."""
        pictures = {
            f"view {number + 1}": displayed(view.float() / 255)
            for number, view in enumerate(views)
            if view.shape == views[0].shape
        }
        self._add(runner, "views", pictures, runner.iter)

    def _draw(self, runner: Runner, batch: dict[str, Any], step: int) -> None:
        """Draw what the tasks make of the images, and the attention of the class token."""
        model = _bare(runner)
        assert isinstance(model, Pretrainer)
        encoder = model.get_submodule("encoder")
        with evaluating(model), all_seeded(0, next(model.parameters()).device):
            for name, columns in draw_pictures(model, batch).items():
                self._add(runner, name, columns, step)
            if model.encoder.spec.has_attention and model.encoder.spec.has_class_token:
                view = model.data_preprocessor(batch, False)["views"][0]
                columns = attention_pictures(encoder, view.pixels, view.images)
                self._add(runner, "attention", columns, step)

    def _add(self, runner: Runner, name: str, columns: dict[str, torch.Tensor], step: int) -> None:
        if columns:
            sheet = np.asarray(captioned(enlarged(columns), self.rows))
            runner.visualizer.add_image(name, sheet, step=step)


def _bare(runner: Runner) -> torch.nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
