"""Jigsaw puzzle of patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmvitssl.arguments import check_choice
from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.corruption import Assigned, Need
from mmvitssl.models.heads.mlp import ClassHead
from mmvitssl.models.tasks.base import PretextTask, TaskResult
from mmvitssl.models.tasks.patchwise import OwnPatches
from mmvitssl.models.tasks.relative_position import check_hiding
from mmvitssl.registry import MODELS

POSITIONS = ("slot", "origin", "hidden")


@MODELS.register_module()
class Jigsaw(OwnPatches, PretextTask):
    """Predict the original cells of m patches that changed places (MTSSL, section 2).

    Args:
        in_channels: the backbone's width; the Pretrainer fills it in.
        cells: patches of the grid, the number of classes: 196 at 224 pixels with patches of 16;
            the Pretrainer fills it in.
        patches: m per view, or (float) their share of the patches; who knows which places
            changed guesses right with a chance of 1 / m.
        position: what the encoder knows of a moved patch: 'slot' (where it lies now: the
            position is embedded after the permutation and cannot give the answer away), 'origin'
            (where it comes from: the answer itself, the paper's way to strengthen position
            embeddings; nothing is moved then, since tokens have no other order than their
            positions) or 'hidden' (one learned vector).
        views: the views whose patches are moved.
        hidden: width of a hidden layer; None: a linear layer.
    """

    def __init__(
        self,
        in_channels: int,
        cells: int,
        patches: int | float = 16 / 196,
        position: str = "slot",
        views: Sequence[int] = (0,),
        hidden: int | None = 512,
    ) -> None:
        super().__init__()
        self.want(Need(singles=patches), views, least=2)
        check_choice("Jigsaw.position", position, POSITIONS)
        self.position, self.cells = position, cells
        self.hides_position = position == "hidden"
        self.head = ClassHead(in_channels, cells, hidden)

    def check(self, encoder: Backbone, has_target: bool) -> None:
        """See the base class; hiding needs the encoder's help."""
        super().check(encoder, has_target)
        check_hiding(self, encoder)

    def patch_need(self, view: int, grid: tuple[int, int]) -> Need | None:
        if view in self.views and grid[0] * grid[1] != self.cells:
            raise ValueError(
                f"Jigsaw.cells={self.cells}, from the encoder's image_size, but a view has "
                f"{grid[0]} x {grid[1]} patches: set image_size to the size of the views."
            )
        return super().patch_need(view, grid)

    def order(self, step: PretrainStep, view: int) -> Tensor:
        """(B, m) long: slot i holds the patch of slot ``order[i]``."""

        def draw() -> Tensor:
            shape = step.given(self, view).singles.shape
            drawn = step.draws(self).uniform(*shape).argsort(dim=1)
            return drawn.to(step.device, non_blocking=True)

        return step.once(self, f"order {view}", draw)

    def alter(self, step: PretrainStep, view: int, assigned: Assigned) -> Tensor | None:
        if self.position == "origin":
            return None
        pixels, order = self.pixels(step, view, assigned), self.order(step, view)
        rows = torch.arange(len(order), device=order.device)[:, None]
        return pixels[rows, order]

    def loss(self, step: PretrainStep) -> TaskResult:
        logits, labels = [], []
        for view in self.views:
            given = moved = step.given(self, view).singles
            if self.position != "origin":
                moved = given.gather(1, self.order(step, view))
            logits.append(self.head(self.tokens(step, view)).flatten(0, 1))
            labels.append(moved.flatten())
        return TaskResult(*self.head.loss(torch.cat(logits), torch.cat(labels)))
