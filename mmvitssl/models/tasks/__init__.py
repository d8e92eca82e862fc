"""Pretext tasks: each is one question."""

from mmvitssl.models.tasks.contrastive import Contrastive
from mmvitssl.models.tasks.reconstruction import Reconstruction

__all__ = ["Contrastive", "Reconstruction"]
