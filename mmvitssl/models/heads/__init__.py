"""Losses: (prediction, target, ...) -> loss."""

from mmvitssl.models.heads.contrastive import CosineLoss, InfoNCE, NTXent, QueueInfoNCE
from mmvitssl.models.heads.distillation import DINOLoss
from mmvitssl.models.heads.pixel import PixelLoss
from mmvitssl.models.heads.tokens import TokenLoss

__all__ = [
    "CosineLoss",
    "DINOLoss",
    "InfoNCE",
    "NTXent",
    "PixelLoss",
    "QueueInfoNCE",
    "TokenLoss",
]
