"""Losses: (prediction, target, ...) -> loss; and classifiers: features -> logits."""

from mmvitssl.models.heads.classification import (
    AttentiveHead,
    BlockwiseLinearHead,
    LinearHead,
    NormalisedLinearHead,
)
from mmvitssl.models.heads.contrastive import CosineLoss, InfoNCE, NTXent, QueueInfoNCE
from mmvitssl.models.heads.distillation import DINOLoss
from mmvitssl.models.heads.distribution import DistributionLoss
from mmvitssl.models.heads.latent import LatentLoss
from mmvitssl.models.heads.pixel import PixelLoss
from mmvitssl.models.heads.tokens import TokenLoss

__all__ = [
    "AttentiveHead",
    "BlockwiseLinearHead",
    "CosineLoss",
    "DINOLoss",
    "DistributionLoss",
    "InfoNCE",
    "LatentLoss",
    "LinearHead",
    "NTXent",
    "NormalisedLinearHead",
    "PixelLoss",
    "QueueInfoNCE",
    "TokenLoss",
]
