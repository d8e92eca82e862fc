"""Says when embeddings collapse, which losses alone do not show."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from mmvitssl.models.tasks.base import TaskResult
from mmvitssl.registry import HOOKS


def relative_std(embeddings: Tensor) -> float:
    """Mean deviation over the batch of L2-normalised embeddings (B, C), times sqrt(C).

    1 for directions that are spread evenly, 0 where all images have one (SimSiam, section 4.1).
    """
    unit = torch.nn.functional.normalize(embeddings.float(), dim=1)
    return float(unit.std(dim=0).mean() * math.sqrt(unit.shape[1]))


def effective_rank(embeddings: Tensor) -> float:
    """exp of the entropy of the normalised singular values of centred embeddings (B, C).

    Between 0 (all equal) and min(B - 1, C) (Roy and Vetterli, 2007).
    """
    centred = embeddings.float() - embeddings.float().mean(dim=0)
    values = torch.linalg.svdvals(centred)
    total = values.sum()
    if total <= 1e-6 * embeddings.float().norm():  # what rounding leaves of the mean
        return 0.0
    share = values / total
    return float(torch.exp(-(share * share.clamp(min=1e-12).log()).sum()))


@HOOKS.register_module()
class CollapseHook(Hook):
    """Log the spread and the rank of embeddings, and warn when a run collapses.

    Every ``interval`` iterations, for each task that shows embeddings: ``<task>_<what>_std`` and
    ``<task>_<what>_rank`` of this process' batch. A warning is written once a kind of collapse and
    again when it comes back after it had gone.

    Args:
        interval: iterations between looks; one look waits for the device.
        least_std: relative deviation below which embeddings count as one point.
        least_rank: effective rank below which they count as a line.
        entropy_margin: distance of the teacher's relative entropy to 0 or 1 that counts as
            collapse to one prototype or to none (DINO).
        patience: iterations at the start without warnings: at first everything is alike.
    """

    priority = "BELOW_NORMAL"

    def __init__(
        self,
        interval: int = 50,
        least_std: float = 0.1,
        least_rank: float = 2.0,
        entropy_margin: float = 0.002,
        patience: int = 200,
    ) -> None:
        self.interval, self.patience = interval, patience
        self.least_std, self.least_rank = least_std, least_rank
        self.entropy_margin = entropy_margin
        self._results: dict[str, TaskResult] | None = None
        self._looking = False
        self._warned: set[str] = set()

    def _keep(self, results: dict[str, TaskResult]) -> None:
        if self._looking:
            self._results = results

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.observers.append(self._keep)

    def after_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.observers.remove(self._keep)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._looking = (runner.iter + 1) % self.interval == 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if self._results is None:
            return
        for task, result in self._results.items():
            for what, embeddings in result.embeddings.items():
                self._look(runner, f"{task}_{what}", embeddings)
            if "teacher_entropy_share" in result.metrics:
                self._look_at_entropy(runner, task, float(result.metrics["teacher_entropy_share"]))
        self._results = None

    def _look(self, runner: Runner, name: str, embeddings: Tensor) -> None:
        deviation, rank = relative_std(embeddings), effective_rank(embeddings)
        for kind, value in (("std", deviation), ("rank", rank)):
            runner.message_hub.update_scalar(f"train/{name}_{kind}", value)
        self._judge(
            runner,
            f"{name} std",
            deviation < self.least_std,
            f"{name}: the embeddings of different images are nearly the same (relative deviation "
            f"{deviation:.3f}, evenly spread ones have 1). The run has collapsed: check predictor, "
            f"stop-gradient or momentum target, learning rate and batch size.",
        )
        self._judge(
            runner,
            f"{name} rank",
            deviation >= self.least_std and rank < self.least_rank and len(embeddings) > 3,
            f"{name}: the embeddings lie on a line (effective rank {rank:.2f} of at most "
            f"{min(len(embeddings) - 1, embeddings.shape[1])}). The run is collapsing in its "
            f"dimensions.",
        )

    def _look_at_entropy(self, runner: Runner, task: str, share: float) -> None:
        self._judge(
            runner,
            f"{task} one",
            share < self.entropy_margin,
            f"{task}: the teacher puts all images on one prototype (relative entropy {share:.4f}). "
            f"Raise the teacher's temperature or the momentum of the centre.",
        )
        self._judge(
            runner,
            f"{task} uniform",
            share > 1 - self.entropy_margin,
            f"{task}: the teacher's output is uniform (relative entropy {share:.4f} of 1): it says "
            f"nothing of the image. Lower the teacher's temperature or the learning rate.",
        )

    def _judge(self, runner: Runner, kind: str, collapsed: bool, words: str) -> None:
        if not collapsed:
            self._warned.discard(kind)
        elif kind not in self._warned and runner.iter + 1 >= self.patience:
            self._warned.add(kind)
            runner.logger.warning(f"COLLAPSE? {words}")
