"""Official checkpoints of SimMIM, of a ViT or a Swin Transformer."""

from __future__ import annotations

from torch import Tensor

from mmvitssl.checkpoint.formats.base import (
    QV_BLOCK,
    Extra,
    Format,
    Rename,
    State,
    make_index_buffers,
    plain_encoder,
    scaled_blocks,
)
from mmvitssl.checkpoint.formats.masked import NECK
from mmvitssl.checkpoint.formats.swin import SHIFT_MASK, swin_encoder, window_index

CHANNELS = 3
HEAD = NECK + "layers.0."


def _from_shuffle(key: str, tensor: Tensor) -> Tensor:
    """A 1 x 1 convolution before a pixel shuffle -> a linear layer of whole patches.

    The shuffle reads its channels as colour, row, column; patches here are row, column, colour.
    """
    if not key.startswith(HEAD):
        return tensor
    tensor = tensor.flatten(1) if tensor.ndim == 4 else tensor
    return tensor.unflatten(0, (CHANNELS, -1)).transpose(0, 1).flatten(0, 1).contiguous()


def _to_shuffle(key: str, tensor: Tensor) -> Tensor:
    """The inverse of :func:`_from_shuffle`."""
    if not key.startswith(HEAD):
        return tensor
    tensor = tensor.unflatten(0, (-1, CHANNELS)).transpose(0, 1).flatten(0, 1).contiguous()
    return tensor[..., None, None] if tensor.ndim == 2 else tensor


def _indices(theirs: State, image_size: int) -> State:
    """The index buffers of a ViT's or a Swin Transformer's bias tables."""
    swin = {key: table for key, table in theirs.items() if key.startswith("encoder.layers.")}
    return window_index(swin, image_size) if swin else make_index_buffers(theirs, image_size)


_VIT = (
    *scaled_blocks("encoder.blocks", "encoder.blocks"),
    *plain_encoder("encoder.", inside=(*QV_BLOCK, "attn.relative_position_bias_table")),
)
_SWIN = swin_encoder("encoder.", "encoder.")

SIMMIM = Format(
    name="simmim",
    words="microsoft/SimMIM, pretraining",
    wrapper="model",
    signature=(r"encoder\.mask_token$", r"decoder\.0\.weight$"),
    absent=(r"tasks\.",),
    renames=(
        Rename("decoder.0.*", HEAD + "*"),
        *_SWIN,
        *(line for line in _VIT if line.theirs not in {known.theirs for known in _SWIN}),
    ),
    extras=(
        Extra(r".*relative_position_index", "follows from the size of the bias table", _indices),
        SHIFT_MASK,
    ),
    decode=_from_shuffle,
    encode=_to_shuffle,
    task=("masked", "MaskedModeling"),
    heads={768: 12, 1024: 16},
)
