"""Pretext tasks: each is one question."""

from mmvitssl.models.tasks.colorization import Colorization
from mmvitssl.models.tasks.context import ContextAutoencoding
from mmvitssl.models.tasks.contrastive import Contrastive
from mmvitssl.models.tasks.distillation import KoLeo, SelfDistillation
from mmvitssl.models.tasks.inpainting import Inpainting
from mmvitssl.models.tasks.jigsaw import Jigsaw
from mmvitssl.models.tasks.masked import MaskedModeling
from mmvitssl.models.tasks.reconstruction import Reconstruction
from mmvitssl.models.tasks.relative_position import RelativePosition
from mmvitssl.models.tasks.rotation import Rotation

__all__ = [
    "Colorization",
    "ContextAutoencoding",
    "Contrastive",
    "Inpainting",
    "Jigsaw",
    "KoLeo",
    "MaskedModeling",
    "Reconstruction",
    "RelativePosition",
    "Rotation",
    "SelfDistillation",
]
