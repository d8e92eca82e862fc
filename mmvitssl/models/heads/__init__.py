"""Losses: (prediction, target, ...) -> loss."""

from mmvitssl.models.heads.contrastive import InfoNCE
from mmvitssl.models.heads.pixel import PixelLoss

__all__ = ["InfoNCE", "PixelLoss"]
