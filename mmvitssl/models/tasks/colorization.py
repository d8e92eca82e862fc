"""Colorization of grey patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmvitssl.arguments import check_choice
from mmvitssl.distributed import mean_over_processes
from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.corruption import Assigned, Need
from mmvitssl.models.corruption.fills import grey
from mmvitssl.models.heads.mlp import ColourHead
from mmvitssl.models.targets.lab import AB_SCALE, ab_bins, rgb_to_lab, soft_bins
from mmvitssl.models.tasks.base import PretextTask, TaskResult
from mmvitssl.models.tasks.patchwise import OwnPatches, all_views
from mmvitssl.registry import MODELS

PREDICTS = ("mean", "pixels", "bins")
COLOURLESS = 1.0  # greatest |a| or |b| of a patch of a view that has no colour


@MODELS.register_module()
class Colorization(OwnPatches, PretextTask):
    """Predict the colours of k patches that were made grey (MTSSL, section 2).

    Colours are ab of Lab, divided by 110. Views without colour (random grayscale) do not count.

    Args:
        in_channels: the backbone's width; the Pretrainer fills it in.
        patch_size: the backbone's; the Pretrainer fills it in.
        patches: k per view, or (float) their share of the patches.
        views: the views whose patches become grey.
        predicts: 'mean' (mean ab of a patch, smooth L1), 'pixels' (ab of every pixel) or 'bins'
            (cross-entropy over quantised mean ab with soft targets and rebalanced classes, as in
            Colorful Image Colorization).
        hidden: width of the hidden layer; None: a linear layer.
        rebalance: share of the uniform distribution in the class weights' denominator (lambda).
        memory: share of the old class frequencies that is kept at each update.

    Raises:
        ValueError: an unknown target.
    """

    prior: Tensor
    bins: Tensor

    def __init__(
        self,
        in_channels: int,
        patch_size: int,
        patches: int | float = 20 / 196,
        views: Sequence[int] = (0,),
        predicts: str = "mean",
        hidden: int | None = 512,
        rebalance: float = 0.5,
        memory: float = 0.99,
    ) -> None:
        super().__init__()
        self.want(Need(singles=patches), views)
        check_choice("Colorization.predicts", predicts, PREDICTS)
        self.predicts = predicts
        self.rebalance, self.memory = rebalance, memory
        bins = ab_bins() if predicts == "bins" else torch.zeros(0, 2)
        self.register_buffer("bins", bins.clone(), persistent=False)
        self.register_buffer("prior", torch.full((len(bins),), 1 / max(len(bins), 1)))
        outputs = {"mean": 2, "pixels": 2 * patch_size**2, "bins": len(bins)}[predicts]
        self.head = ColourHead(in_channels, outputs, hidden, bins=predicts == "bins")

    def check(self, encoder: Backbone, has_target: bool) -> None:
        """See the base class; images must be RGB."""
        super().check(encoder, has_target)
        reads = encoder.spec.in_channels
        if reads != 3:
            raise ValueError(
                f"Colorization needs RGB images, but the encoder reads {reads} channels: take the "
                f"task out, or build the encoder with in_channels=3."
            )

    def alter(self, step: PretrainStep, view: int, assigned: Assigned) -> Tensor:
        return grey(self.pixels(step, view, assigned))

    def class_weights(self) -> Tensor:
        """(Q,) weights of the bins, inverse to smoothed frequencies, of mean 1 over the data."""
        mixed = (1 - self.rebalance) * self.prior + self.rebalance / len(self.prior)
        weights = 1 / mixed
        return weights / (self.prior * weights).sum()

    @torch.no_grad()
    def _count(self, target: Tensor, coloured: Tensor, number: Tensor) -> None:
        seen = mean_over_processes((target * coloured[:, None]).sum(0)) / number.clamp(min=1e-6)
        self.prior.lerp_(seen, 1 - self.memory)
        self.prior.div_(self.prior.sum().clamp(min=1e-12))

    def _bins_losses(self, output: Tensor, ab: Tensor, coloured: Tensor, number: Tensor) -> Tensor:
        target = soft_bins(ab, self.bins)
        weights = self.class_weights()[target.argmax(dim=1)]
        if self.training:
            self._count(target, coloured, number)
        return self.head.loss(output, target) * weights

    def loss(self, step: PretrainStep) -> TaskResult:
        tokens, pixels = all_views(self, step)
        ab = rgb_to_lab(pixels)[..., 1:].flatten(1, 2)  # T, P * P, 2
        views = len(self.views) * step.batch_size
        of_view = ab.abs().amax(dim=(1, 2)).view(views, -1).amax(dim=1)
        coloured = (of_view > COLOURLESS).float().repeat_interleave(len(ab) // views)
        # processes have different numbers of coloured views, and all their patches count the same
        number = mean_over_processes(coloured.sum()) if self.training else coloured.sum()
        output, mean = self.head(tokens), ab.mean(dim=1)
        if self.predicts == "bins":
            losses = self._bins_losses(output, mean, coloured, number)
            guess = self.bins[output.argmax(dim=1)]
        else:
            target = (mean if self.predicts == "mean" else ab.flatten(1)) / AB_SCALE
            losses = self.head.loss(output, target)
            guess = output.float().view(len(ab), -1, 2).mean(dim=1) * AB_SCALE
        with torch.no_grad():
            error = chosen_mean((guess - mean).norm(dim=1), coloured, number)
            baseline = chosen_mean(mean.norm(dim=1), coloured, number)
        loss = chosen_mean(losses, coloured, number)
        return TaskResult(loss, {"ab_error": error, "grey_ab_error": baseline})


def chosen_mean(values: Tensor, chosen: Tensor, number: Tensor) -> Tensor:
    """Return the sum of (T,) values where ``chosen`` (T,) is 1, by ``number``; 0 where none is."""
    return (values * chosen).sum() / number.clamp(min=1e-6)
