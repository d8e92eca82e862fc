"""Pretext tasks: each is one question."""

from mmvitssl.models.tasks.context import ContextAutoencoding
from mmvitssl.models.tasks.contrastive import Contrastive
from mmvitssl.models.tasks.distillation import SelfDistillation
from mmvitssl.models.tasks.masked import MaskedModeling
from mmvitssl.models.tasks.reconstruction import Reconstruction

__all__ = [
    "ContextAutoencoding",
    "Contrastive",
    "MaskedModeling",
    "Reconstruction",
    "SelfDistillation",
]
