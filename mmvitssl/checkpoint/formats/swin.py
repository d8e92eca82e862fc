"""Swin Transformers: the official layout, timm's, and mmdet's and mmseg's."""

from __future__ import annotations

from torch import Tensor

from mmvitssl.checkpoint.formats.base import OWN_TOKENS, Extra, Format, Rename, State

STAGES = range(8)
PARTS = ("patch_embed.proj.*", "patch_embed.norm.*", "norm.*")


def window_index(theirs: State, image_size: int) -> State:
    """The buffer ``relative_position_index`` beside every bias table of windows."""
    from timm.models.swin_transformer import get_relative_position_index

    made = {}
    for key, table in theirs.items():
        if key.endswith("relative_position_bias_table"):
            side = (round(table.shape[0] ** 0.5) + 1) // 2
            name = key.replace("_bias_table", "_index")
            made[name] = get_relative_position_index(side, side)
    return made


WINDOW_INDEX = Extra(
    r".*relative_position_index", "follows from the size of the bias table", window_index
)
SHIFT_MASK = Extra(r".*attn_mask", "follows from the size of the map")


def swin_encoder(theirs: str, ours: str) -> tuple[Rename, ...]:
    """Official names: merging stands at the end of a stage, here at the start of the next."""
    return (
        *(Rename(theirs + part, ours + part) for part in PARTS),
        *(
            Rename(f"{theirs}layers.{i}.downsample.*", f"{ours}layers.{i + 1}.downsample.*")
            for i in STAGES
        ),
        Rename(theirs + "layers.{i}.blocks.{i}.*", ours + "layers.{i}.blocks.{i}.*"),
    )


def merging_to_unfold(key: str, tensor: Tensor) -> Tensor:
    """Patch merging in mmdet's order: channels, then rows, then columns of the 2 x 2 patches.

    Here, as officially, it is columns, rows, channels.
    """
    if ".downsample." not in key:
        return tensor
    cells = tensor.unflatten(-1, (2, 2, -1))
    return cells.transpose(-1, -3).flatten(-3).contiguous()


def merging_from_unfold(key: str, tensor: Tensor) -> Tensor:
    """The inverse of :func:`merging_to_unfold`."""
    if ".downsample." not in key:
        return tensor
    cells = tensor.unflatten(-1, (-1, 2, 2))
    return cells.transpose(-1, -3).flatten(-3).contiguous()


SWIN = Format(
    name="swin",
    words="microsoft/Swin-Transformer",
    wrapper="model",
    signature=(r"layers\.0\.blocks\.0\.attn\.relative_position_bias_table$",
               r"layers\.0\.downsample\."),
    absent=(r"encoder", OWN_TOKENS),
    renames=(*swin_encoder("", "encoder."), Rename("head.*", "head.*")),
    extras=(WINDOW_INDEX, SHIFT_MASK),
)  # fmt: skip

TIMM_SWIN = Format(
    name="timm-swin",
    words="timm's Swin Transformer",
    wrapper=None,
    signature=(r"layers\.0\.blocks\.0\.attn\.relative_position_bias_table$",
               r"layers\.1\.downsample\."),
    absent=(r"encoder", r"layers\.0\.downsample\.", OWN_TOKENS),
    renames=(
        *(Rename(part, "encoder." + part) for part in PARTS),
        Rename("layers.{i}.*", "encoder.layers.{i}.*"),
        Rename("head.*", "head.*"),
    ),
)  # fmt: skip

_INSIDE_BACKBONE = (
    Rename("backbone.patch_embed.projection.*", "encoder.patch_embed.proj.*"),
    Rename("backbone.patch_embed.norm.*", "encoder.patch_embed.norm.*"),
    *(
        Rename(f"backbone.stages.{i}.downsample.*", f"encoder.layers.{i + 1}.downsample.*")
        for i in STAGES
    ),
    *(
        Rename(
            f"backbone.stages.{{i}}.blocks.{{i}}.{theirs}",
            f"encoder.layers.{{i}}.blocks.{{i}}.{ours}",
        )
        for theirs, ours in (
            ("attn.w_msa.*", "attn.*"),
            ("ffn.layers.0.0.*", "mlp.fc1.*"),
            ("ffn.layers.1.*", "mlp.fc2.*"),
            ("norm1.*", "norm1.*"),
            ("norm2.*", "norm2.*"),
        )
    ),
)

MMPRETRAIN_SWIN = Format(
    name="mmpretrain-swin",
    words="mmpretrain's Swin Transformer of four stages",
    wrapper="state_dict",
    signature=(r"backbone\.stages\.0\.blocks\.0\.attn\.w_msa\.", r"backbone\.norm3\."),
    absent=(r"backbone\.norm([0-2])?\.",),  # of detectors, which norm every level
    renames=(
        *_INSIDE_BACKBONE,
        Rename("backbone.norm3.*", "encoder.norm.*"),
        Rename("head.*", "head.*"),
    ),
    extras=(
        WINDOW_INDEX,
        Extra(r"data_preprocessor\..*", "normalisation, which the config says here"),
    ),
    decode=merging_from_unfold,
    encode=merging_to_unfold,
)

MMDET_SWIN = Format(
    name="mmdet-swin",
    words="mmdet's and mmseg's Swin Transformer as a backbone",
    wrapper="state_dict",
    signature=(r"backbone\.stages\.0\.blocks\.0\.attn\.w_msa\.",),
    renames=(*_INSIDE_BACKBONE, Rename("backbone.norm.*", "encoder.norm.*")),
    # a detector's norms of its levels are fresh: the pretrained norm has no place among them
    extras=(
        WINDOW_INDEX,
        Extra(r"backbone\.norm[0-3]\..*", "norms of a detector's or segmentor's levels"),
    ),
    left_out=(r"encoder\.norm\..*",),
    decode=merging_from_unfold,
    encode=merging_to_unfold,
)
