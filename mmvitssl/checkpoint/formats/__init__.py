"""Checkpoints of other code bases, both ways; one module a family."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.formats.base import Format, Imported
from mmvitssl.checkpoint.formats.cae import CAE, CAE_A
from mmvitssl.checkpoint.formats.contrastive import DINO, MOBY, MOCOV3
from mmvitssl.checkpoint.formats.dinov3 import DINOV3, TIMM_DINOV3, TRANSFORMERS_DINOV3
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

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        MMPRETRAIN_CAE,
        MMPRETRAIN_MAE,
        MMPRETRAIN_BEIT,
        TRANSFORMERS_VITMAE,
        TRANSFORMERS_DINOV2,
        TRANSFORMERS_VIT,
        TRANSFORMERS_DINOV3,
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
    """The format of a state dict; None if it is of this package or of none that is known.

    Where several fit, it is the one that knows the most keys, and of these the one that states the
    most conditions. The order of :data:`FORMATS` decides nothing.

    Raises:
        CheckpointError: two formats fit equally well.
    """
    if any(key.endswith("qkv_lora.a") for key in state):  # of an encoder of this package
        return None
    fitting = [format for format in FORMATS.values() if format.recognises(state)]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    ranks = {format.name: format.specificity(state) for format in fitting}
    best = [format for format in fitting if ranks[format.name] == max(ranks.values())]
    if len(best) > 1:
        raise CheckpointError(
            f"This checkpoint fits the formats {' and '.join(sorted(f.name for f in best))} "
            f"equally well: name one by --format."
        )
    return best[0]


__all__ = ["FORMATS", "Format", "Imported", "recognise", "register_format"]


def register_format(format: Format) -> Format:
    """Add a format of your own, which is then recognised as those of this package are.

    Raises:
        ValueError: there is one of this name.
    """
    if format.name in FORMATS:
        raise ValueError(f"There is a format '{format.name}' already: choose another name.")
    FORMATS[format.name] = format
    return format
