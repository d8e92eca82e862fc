"""Relative position of patch pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.corruption import Assigned, Need
from mmvitssl.models.corruption.allocate import NEIGHBOURS
from mmvitssl.models.corruption.fills import crop_and_jitter
from mmvitssl.models.heads.mlp import ClassHead
from mmvitssl.models.tasks.base import PretextTask, TaskResult
from mmvitssl.models.tasks.patchwise import OwnPatches
from mmvitssl.registry import MODELS


@MODELS.register_module()
class RelativePosition(OwnPatches, PretextTask):
    """Predict the direction from one patch to another, of eight (MTSSL; Doersch et al., 2015).

    Patches are cropped and their colour is changed a little, against continuity across borders.
    Position embeddings tell the answer; the paper accepts that. ``hide_position`` replaces them
    by one learned vector, for the anchor and for all eight patches that could be asked for: were
    the two alone without position, what is missing among the others would show their line.

    Args:
        in_channels: the backbone's width; the Pretrainer fills it in.
        pairs: pairs per view, or (float) per patch of the view.
        distance: rows and columns between the two; 2 leaves a gap of a patch.
        crop: least side of the part that is kept of a patch; 1 crops nothing.
        jitter: strength of the change of colour.
        hide_position: whether the encoder is not told where these patches and the others around
            an anchor are; it needs ``unknown_position=True``.
        views: the views whose patches are asked for.
        hidden: width of the hidden layer; None: the encoder's.
    """

    def __init__(
        self,
        in_channels: int,
        pairs: int | float = 4 / 196,
        distance: int = 1,
        crop: float = 0.75,
        jitter: float = 0.2,
        hide_position: bool = False,
        views: Sequence[int] = (0,),
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.want(Need(pairs=pairs, distance=distance), views)
        if not 0 < crop <= 1 or not 0 <= jitter < 1:
            raise ValueError(
                f"RelativePosition needs 0 < crop <= 1 and 0 <= jitter < 1; got {crop}, {jitter}."
            )
        self.crop, self.jitter, self.hides_position = crop, jitter, hide_position
        self.head = ClassHead(2 * in_channels, len(NEIGHBOURS), hidden or in_channels)

    def check(self, encoder: Backbone, has_target: bool) -> None:
        """See the base class; hiding needs the encoder's help."""
        super().check(encoder, has_target)
        check_hiding(self, encoder)

    def alter(self, step: PretrainStep, view: int, assigned: Assigned) -> Tensor | None:
        if self.crop == 1 and self.jitter == 0:
            return None
        generator = step.draws(self, device=step.device)
        pixels = self.pixels(step, view, assigned)
        return crop_and_jitter(pixels, self.crop, self.jitter, generator)

    def loss(self, step: PretrainStep) -> TaskResult:
        logits, labels = [], []
        for view in self.views:
            tokens = self.tokens(step, view).unflatten(1, (-1, 2)).flatten(2)  # B, p, 2 C
            logits.append(self.head(tokens).flatten(0, 1))
            labels.append(step.given(self, view).classes.flatten())
        return TaskResult(*self.head.loss(torch.cat(logits), torch.cat(labels)))


def check_hiding(task: PretextTask, encoder: Backbone) -> None:
    """Raise ValueError if a task hides positions and the encoder cannot."""
    if task.hides_position and not encoder.spec.can_hide_positions:
        raise ValueError(
            f"{type(task).__name__}.hide_position needs an encoder with unknown_position=True."
        )
