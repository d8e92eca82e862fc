"""Reconstruction of whole views from multi-hierarchy features (RePre)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmvitssl.models.algorithms.step import EncodeRequest, PretrainStep
from mmvitssl.models.necks.tokens import tokens_to_map
from mmvitssl.models.tasks.base import PretextTask, TaskResult, check_channels, check_views
from mmvitssl.registry import MODELS


def even_levels(depth: int, number: int) -> tuple[int, ...]:
    """The K zero-based blocks at even intervals, floor(L / K) * j - 1 (RePre, section 3.2)."""
    interval = depth // number
    return tuple(interval * j - 1 for j in range(1, number + 1))


@MODELS.register_module()
class Reconstruction(PretextTask):
    """Predict all pixels of a view from the features that other tasks share (RePre).

    The target is the augmented view before normalisation, in [0, 1]; the encoder pass is the one
    that the contrastive task reads too, so the branch costs only its decoder.

    Args:
        neck: config of a decoder from K feature maps to an image.
        head: config of a loss ``(prediction, target) -> loss``.
        views: the views to reconstruct; the paper's is the first.
        levels: zero-based blocks to read, from shallow to deep; 2, 5, 8, 11 of 12 in the paper.
    """

    def __init__(
        self,
        neck: dict[str, Any],
        head: dict[str, Any],
        views: Sequence[int] = (0,),
        levels: Sequence[int] = (2, 5, 8, 11),
    ) -> None:
        super().__init__()
        self.views = tuple(views)
        check_views(self, self.views, least=1)
        self.levels = tuple(levels)
        if list(self.levels) != sorted(set(self.levels)):
            raise ValueError(f"Reconstruction.levels must ascend: {self.levels}.")
        self.neck = MODELS.build(neck)
        self.head = MODELS.build(head)

    def check(self, encoder: Any, has_target: bool) -> None:
        """See the base class: levels must exist, and the neck fit their number and widths."""
        if any(not 0 <= level < encoder.depth for level in self.levels):
            raise ValueError(
                f"Reconstruction.levels={self.levels}, but the encoder has blocks "
                f"0..{encoder.depth - 1}; evenly spaced would be "
                f"{even_levels(encoder.depth, len(self.levels))}."
            )
        widths = encoder.level_channels(self.levels)
        if tuple(self.neck.in_channels) != widths:
            raise ValueError(
                f"Reconstruction.neck.in_channels={self.neck.in_channels}, but the encoder's "
                f"levels {self.levels} have {widths} channels."
            )
        if hasattr(self.neck, "out_channels"):
            check_channels(self, "neck.out_channels", self.neck.out_channels, encoder)

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        return [EncodeRequest(view, levels=self.levels) for view in self.views]

    def predict(self, step: PretrainStep, view: int) -> Tensor:
        """(B, C, H, W) reconstruction of a view."""
        encoded = step.encode(view, levels=self.levels)
        maps = [tokens_to_map(encoded.hierarchy[level], encoded.grid) for level in self.levels]
        return self.neck(maps)

    def loss(self, step: PretrainStep) -> TaskResult:
        losses, errors, baselines = [], [], []
        for view in self.views:
            prediction, target = self.predict(step, view), step.view(view).pixels
            losses.append(self.head(prediction, target))
            errors.append(_mean_error(prediction, target))
            baselines.append(_mean_error(target.mean(dim=(2, 3), keepdim=True), target))
        error, baseline = torch.stack(errors).mean(), torch.stack(baselines).mean()
        metrics = {"error": error, "mean_colour_error": baseline}
        return TaskResult(loss=torch.stack(losses).mean(), metrics=metrics)

    def pictures(self, step: PretrainStep) -> dict[str, Tensor]:
        view = self.views[0]
        reconstruction = self.predict(step, view).float().clamp(0, 1)
        return {"original": step.view(view).pixels, "reconstruction": reconstruction}


@torch.no_grad()
def _mean_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over all pixels."""
    return (prediction.float() - target.float()).abs().mean()
