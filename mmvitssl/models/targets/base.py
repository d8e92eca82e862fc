"""What masked patches are predicted to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmvitssl.structures import MaskedPatches

if TYPE_CHECKING:
    from mmvitssl.models.algorithms.step import PretrainStep


class Target(nn.Module):
    """Base class of targets: values (T, D) or ids (T,) of masked patches.

    Attributes:
        out_channels: D, or the number of ids; 0: what the neck predicts, see :meth:`fit`.
        view: the view that the values are computed from; None: the masked one.
    """

    out_channels: int
    view: int | None = None

    def fit(self, channels: int) -> None:
        """Take the width of the predictions; called once the neck is complete.

        Raises:
            ValueError: another width is stated.
        """

    def check(self, step: PretrainStep, view: int, grid: tuple[int, int]) -> None:
        """Raise ValueError unless there is a value for every patch of a view."""

    def reads(self) -> tuple[int, ...] | None:
        """Levels of the target branch's pass over the whole view; None: no such pass."""
        return None

    def forward(self, step: PretrainStep, view: int, masked: MaskedPatches) -> Tensor:
        """(T, D) or (T,) of the masked patches of one view."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(step, view, masked)")

    def values(self, step: PretrainStep, task: Any, masked: Mapping[int, MaskedPatches]) -> Tensor:
        """Of the masked patches of all views of a task, one view after the other."""
        return torch.cat([self(step, view, patches) for view, patches in masked.items()])

    def update(self, step: PretrainStep) -> None:
        """Move statistics with this step; called after the loss while training."""
