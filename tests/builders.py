"""Tiny configs and batches that many tests use."""

from __future__ import annotations

from typing import Any

import torch

from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.registry import MODELS
from mmvitssl.structures import View

ENCODER = dict(
    type="ViT",
    arch=dict(embed_dim=32, depth=4, num_heads=2),
    image_size=(32, 48),
    patch_size=8,
    position="sincos_row_first",
    initialisation="mocov3",
    freeze_patch_embed=True,
)
CONTRASTIVE = dict(
    type="Contrastive",
    projector=dict(type="ProjectionMLP", in_channels=32, hidden_channels=64, out_channels=16),
    predictor=dict(
        type="ProjectionMLP", in_channels=16, hidden_channels=64, out_channels=16, num_layers=2
    ),
    head=dict(type="InfoNCE", temperature=0.2, scale=0.4),
)
RECONSTRUCTION = dict(
    type="Reconstruction",
    levels=(0, 1, 2, 3),
    neck=dict(type="MultiHierarchyFusion", in_channels=32, width=16, patch_size=8),
    head=dict(type="PixelLoss"),
)
UNCERTAINTY = dict(
    type="UncertaintyWeights",
    likelihoods=dict(contrastive="classification", reconstruction="laplace"),
)


def repre_config(**changes: Any) -> dict[str, Any]:
    """RePre on MoCo v3 on a tiny, non-square ViT."""
    config: dict[str, Any] = dict(
        type="Pretrainer",
        encoder=ENCODER,
        target=dict(momentum=0.99),
        tasks=dict(contrastive=CONTRASTIVE, reconstruction=RECONSTRUCTION),
        balancer=UNCERTAINTY,
    )
    return {**config, **changes}


def build_repre(**changes: Any) -> Pretrainer:
    return MODELS.build(repre_config(**changes))


def make_views(number: int = 2, batch: int = 4, size: tuple[int, int] = (32, 48)) -> list[View]:
    pixels = torch.rand(number, batch, 3, *size)
    mean, std = torch.full((3,), 0.5), torch.full((3,), 0.25)
    return [View(view, (view - 0.5) / 0.25, mean, std) for view in pixels]


def make_samples(batch: int = 4, epoch: int = 0) -> dict[str, Any]:
    return {"index": torch.arange(batch), "epoch": torch.full((batch,), epoch)}
