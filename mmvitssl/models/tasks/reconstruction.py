"""Reconstruction of whole views from multi-hierarchy features (RePre)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmvitssl.models.algorithms.step import EncodeRequest, PretrainStep
from mmvitssl.models.backbones.contract import BackboneSpec
from mmvitssl.models.necks.tokens import tokens_to_map
from mmvitssl.models.sizes import Levels, build_part, resolve_levels
from mmvitssl.models.tasks.base import PretextTask, TaskResult, check_views
from mmvitssl.registry import MODELS


@MODELS.register_module()
class Reconstruction(PretextTask):
    """Predict all pixels of a view from the features that other tasks share (RePre).

    The target is the augmented view before normalisation, in [0, 1]; the encoder pass is the one
    that the contrastive task reads too, so the branch costs only its decoder.

    Args:
        neck: config of a decoder from K feature maps to an image; its channels, levels and patch
            follow from the backbone.
        head: config of a loss ``(prediction, target) -> loss``.
        backbone: its spec; the Pretrainer fills it in.
        views: the views to reconstruct; the paper's is the first.
        levels: blocks to read, from shallow to deep, see
            :func:`~mmvitssl.models.sizes.resolve_levels`: the paper's 4, at even intervals, are
            2, 5, 8, 11 of 12.
    """

    def __init__(
        self,
        neck: dict[str, Any],
        head: dict[str, Any],
        backbone: BackboneSpec,
        views: Sequence[int] = (0,),
        levels: Levels = 4,
    ) -> None:
        super().__init__()
        self.views = tuple(views)
        check_views(self, self.views, least=1)
        self.levels = resolve_levels("Reconstruction.levels", levels, backbone.depth)
        self.neck = build_part(
            neck,
            "Reconstruction.neck",
            f"the encoder at levels {self.levels}",
            in_channels=tuple(backbone.level_channels[level] for level in self.levels),
            levels=len(self.levels),
            patch_size=backbone.level_strides[self.levels[0]],
            out_channels=backbone.in_channels,
        )
        self.head = MODELS.build(head)

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
