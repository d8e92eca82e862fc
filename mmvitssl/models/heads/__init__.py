"""Losses: (prediction, target, ...) -> loss."""

from mmvitssl.models.heads.contrastive import InfoNCE
from mmvitssl.models.heads.pixel import PixelLoss
from mmvitssl.models.heads.tokens import TokenLoss

__all__ = ["InfoNCE", "PixelLoss", "TokenLoss"]
