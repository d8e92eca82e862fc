"""Checkpoints of other code bases, both ways; one module a family."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmvitssl.checkpoint.formats.base import Format, Imported
from mmvitssl.checkpoint.formats.cae import CAE, CAE_A
from mmvitssl.checkpoint.formats.contrastive import DINO, MOBY, MOCOV3
from mmvitssl.checkpoint.formats.dinov3 import DINOV3, TIMM_DINOV3
from mmvitssl.checkpoint.formats.latent import DINOV2_TRAINING, IBOT, IJEPA
from mmvitssl.checkpoint.formats.masked import BEIT, LOMAR, MAE
from mmvitssl.checkpoint.formats.mmpretrain import MMPRETRAIN_BEIT, MMPRETRAIN_CAE, MMPRETRAIN_MAE
from mmvitssl.checkpoint.formats.simmim import SIMMIM
from mmvitssl.checkpoint.formats.swin import MMDET_SWIN, MMPRETRAIN_SWIN, SWIN, TIMM_SWIN
from mmvitssl.checkpoint.formats.timm import DINOV2, TIMM, TIMM_POOLED
from mmvitssl.checkpoint.formats.transformers import (
    TRANSFORMERS_DINOV2,
    TRANSFORMERS_VIT,
    TRANSFORMERS_VITMAE,
)

# from the most telling signature to the least
FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        MMPRETRAIN_CAE,
        MMPRETRAIN_MAE,
        MMPRETRAIN_BEIT,
        TRANSFORMERS_VITMAE,
        TRANSFORMERS_DINOV2,
        TRANSFORMERS_VIT,
        DINOV3,
        TIMM_DINOV3,
        CAE_A,
        SIMMIM,
        CAE,
        MAE,
        LOMAR,
        BEIT,
        MOCOV3,
        IBOT,
        DINOV2_TRAINING,
        IJEPA,
        DINO,
        MOBY,
        MMPRETRAIN_SWIN,
        MMDET_SWIN,
        SWIN,
        TIMM_SWIN,
        DINOV2,
        TIMM,
        TIMM_POOLED,
    )
}


def recognise(state: Mapping[str, Tensor]) -> Format | None:
    """The format of a state dict; None if it is of this package or of none that is known."""
    return next((format for format in FORMATS.values() if format.recognises(state)), None)


__all__ = ["FORMATS", "Format", "Imported", "recognise", "register_format"]


def register_format(format: Format) -> Format:
    """Add a format of your own; it is looked for before those of this package.

    Raises:
        ValueError: there is one of this name.
    """
    if format.name in FORMATS:
        raise ValueError(f"There is a format '{format.name}' already: choose another name.")
    others = dict(FORMATS)
    FORMATS.clear()
    FORMATS.update({format.name: format, **others})
    return format
