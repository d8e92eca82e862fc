"""The contract of a pretext task: one question asked of the shared encoder passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mmvitssl.models.algorithms.step import EncodeRequest, PretrainStep
from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.corruption.allocate import Assigned, Need


@dataclass(frozen=True)
class TaskResult:
    """Loss, metrics and embeddings that a task returns.

    Attributes:
        loss: scalar, raw: the balancer weighs it.
        metrics: scalars for the log, detached.
        embeddings: (B, C) detached, for what watches the training, such as the collapse hook.
    """

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)
    embeddings: dict[str, Tensor] = field(default_factory=dict)


class PretextTask(nn.Module):
    """Base class of pretext tasks.

    A task says which encoder passes it will read (:meth:`requests`), which of its modules the
    target branch follows (:meth:`momentum_modules`) and computes its loss from the step.
    """

    def check(self, encoder: Backbone, has_target: bool) -> None:
        """Raise ValueError if this task cannot work with the encoder; called when built."""

    def momentum_modules(self) -> dict[str, nn.Module]:
        """Modules of this task that the momentum target copies, by a name of the task's own."""
        return {}

    def connect(self, tasks: Mapping[str, PretextTask]) -> None:
        """Find other tasks that this one reads; called when all are built, before :meth:`check`.

        Raises:
            ValueError: there is no such task.
        """

    # whether the online encoder is not told where this task's patches are
    hides_position = False

    def paired_views(self) -> list[tuple[int, int]]:
        """Pairs of views of which this task takes one for the same picture as the other.

        What transforms a view as a whole transforms those that are paired with it too, whichever
        task asks for it.
        """
        return []

    def transform_views(self, step: PretrainStep) -> None:
        """Change whole views, by ``step.transform``, before anything else looks at them."""

    def alters(self, view: int) -> bool:
        """Whether this task wants patches of a view; others need not be cut into patches."""
        return False

    def patch_need(self, view: int, grid: tuple[int, int]) -> Need | None:
        """Patches of a view that this task alters; None: none."""
        return None

    def alter(self, step: PretrainStep, view: int, assigned: Assigned) -> Tensor | None:
        """New pixels (B, n, P, P, C) of the patches that were assigned; None: as they are."""
        return None

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        """Passes that :meth:`loss` will read."""
        raise NotImplementedError(f"{type(self).__name__} must define requests(step)")

    def loss(self, step: PretrainStep) -> TaskResult:
        """The raw loss of this iteration."""
        raise NotImplementedError(f"{type(self).__name__} must define loss(step)")

    def pictures(self, step: PretrainStep) -> dict[str, Tensor]:
        """(B, C, H, W) pictures in [0, 1] by caption, left to right; empty where none apply."""
        return {}


def other_task(task: PretextTask, field_name: str, name: str, tasks: Mapping[str, Any]) -> Any:
    """Return the task that a field names, or raise ValueError."""
    if tasks.get(name) in (None, task):
        others = sorted(other for other in tasks if tasks[other] is not task)
        raise ValueError(
            f"{type(task).__name__}.{field_name}='{name}' names no other task; there are {others}."
        )
    return tasks[name]


def check_views(task: object, views: tuple[int, ...], least: int) -> None:
    """Raise ValueError unless there are ``least`` distinct, non-negative views."""
    if len(set(views)) != len(views) or len(views) < least or any(view < 0 for view in views):
        raise ValueError(
            f"{type(task).__name__}.views={views}: at least {least} different views are needed, "
            f"counted from 0."
        )
