"""One corrupted input for all tasks of a view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmvitssl.models.corruption.allocate import Assigned, Need, allocate
from mmvitssl.models.targets.patches import grid_view
from mmvitssl.structures import View

if TYPE_CHECKING:
    from mmvitssl.models.algorithms.step import PretrainStep
    from mmvitssl.models.tasks.base import PretextTask


def take(images: Tensor, patch_size: int, patches: Tensor) -> Tensor:
    """(B, C, H, W) and (B, n) indices -> (B, n, P, P, C)."""
    cells = grid_view(images, patch_size)
    rows = torch.arange(len(images), device=images.device)[:, None]
    return cells[rows, patches // cells.shape[2], patches % cells.shape[2]]


def put(images: Tensor, patch_size: int, patches: Tensor, contents: Tensor) -> Tensor:
    """A copy with the contents (B, n, P, P, C) in the places of the patches (B, n)."""
    images = images.clone(memory_format=torch.contiguous_format)
    cells = grid_view(images, patch_size)
    rows = torch.arange(len(images), device=images.device)[:, None]
    cells[rows, patches // cells.shape[2], patches % cells.shape[2]] = contents.to(images.dtype)
    return images


def normalised(view: View, pixels: Tensor) -> Tensor:
    """Pixels (..., C) as the encoder sees them."""
    pixels = pixels if view.mean is None else pixels - view.mean
    return pixels if view.std is None else pixels / view.std


def _needs(
    tasks: Sequence[tuple[str, PretextTask]], number: int, grid: tuple[int, int]
) -> dict[str, Need]:
    wanted = {name: task.patch_need(number, grid) for name, task in tasks}
    return {name: need for name, need in wanted.items() if need is not None}


def _corrupt(
    step: PretrainStep, number: int, given: dict[str, Assigned], tasks: dict[str, PretextTask]
) -> View:
    view, size = step.view(number), step.patch_size
    places: list[Tensor] = []
    contents: list[Tensor] = []
    hidden: list[Tensor] = []
    for name, assigned in given.items():
        altered = tasks[name].alter(step, number, assigned)
        if altered is not None:
            places.append(assigned.patches)
            contents.append(normalised(view, altered))
        if tasks[name].hides_position:
            hidden.append(assigned.unplaced)
    corrupted, unplaced = None, None
    if places:
        corrupted = put(view.images, size, torch.cat(places, 1), torch.cat(contents, 1))
    if hidden:
        grid = step.grid_of(number)
        unplaced = torch.zeros(
            view.batch_size, grid[0] * grid[1], dtype=torch.bool, device=step.device
        ).scatter_(1, torch.cat(hidden, 1), True)
    return replace(view, corrupted=corrupted, unplaced=unplaced)


def harmonise(
    step: PretrainStep, tasks: Sequence[tuple[str, PretextTask]], owner: nn.Module
) -> None:
    """Let every task alter patches of its own, all of a view in one operation.

    Targets are taken from ``view.pixels`` and ``view.images``, which stay clean; the online
    encoder sees ``view.corrupted``, a momentum target the clean view.

    Args:
        step: whose views are replaced.
        tasks: by name, in the order of the config.
        owner: whose generator draws the patches.

    Raises:
        ValueError: the tasks want more patches than a view has; the message shows the sum.
    """
    for number in range(len(step.views)):
        asking = [(name, task) for name, task in tasks if task.alters(number)]
        needs = _needs(asking, number, step.grid_of(number)) if asking else {}
        if not needs:
            continue
        view = step.view(number)
        drawn = allocate(needs, step.grid_of(number), view.batch_size, step.draws(owner))
        given = {name: assigned.to(step.device) for name, assigned in drawn.items()}
        for name, assigned in given.items():
            step.assigned[name, number] = assigned
        step.views[number] = _corrupt(step, number, given, dict(tasks))
