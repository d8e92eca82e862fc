"""The config of an encoder, from its tensors and what is known of its file's format."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmvitssl.checkpoint.entries import some
from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.facts import Facts, resize_rule
from mmvitssl.checkpoint.formats import FORMATS
from mmvitssl.models.backbones.position import sincos_table

PROJECTION = "patch_embed.proj.weight"
FIRST = "blocks.0.attn."
SHARED = "rel_pos_bias.relative_position_bias_table"
IMAGE_SIZE = 224  # of files whose tables do not show it
HEAD_WIDTH = 64  # channels per attention head of all published models but MoCo v3's and CAE's ViT-S
# epsilon of the norms, where it is not timm's and Swin's
NORM_EPS = {"transformers-vit": 1e-12, "transformers-vitmae": 1e-12,
            "dinov3": 1e-5, "timm-dinov3": 1e-5, "transformers-dinov3": 1e-5}  # fmt: skip
SINCOS = ("sincos_row_first", "sincos_column_first")
HOW = "describe the encoder in a config of yours (--config FILE)"


def infer_encoder(
    state: Mapping[str, Tensor], facts: Facts, origin: str | None, path: str | Path
) -> tuple[dict[str, Any], list[str]]:
    """The config of the encoder whose tensors these are.

    Args:
        state: of the encoder, with this package's names.
        facts: what the file says beside its tensors.
        origin: name of the file's format; None: this package's names.
        path: of the file, for messages.

    Returns:
        the config, and what was assumed, in sentences.

    Raises:
        CheckpointError: the tensors are of no encoder here, or do not show the number of heads.
    """
    projection = state.get(PROJECTION)
    if projection is None or projection.ndim != 4:
        raise CheckpointError(
            f"{path} does not say how its encoder is built, and its tensors are of none that is "
            f"known (there is no {PROJECTION}; its first keys are {some(sorted(state)[:4])}): "
            f"{HOW}."
        )
    if any(key.startswith("layers.0.blocks.") for key in state):
        return _swin(state, projection), []
    if f"{FIRST}proj.weight" not in state:
        raise CheckpointError(
            f"{path} does not say how its encoder is built, and its blocks are not those of a "
            f"Vision Transformer or a Swin Transformer (there is no {FIRST}proj.weight): {HOW}."
        )
    return _vit(state, projection, facts, origin, path)


def _depth(state: Mapping[str, Tensor], prefix: str) -> int:
    found = (re.match(rf"{re.escape(prefix)}(\d+)\.", key) for key in state)
    return 1 + max(int(match[1]) for match in found if match)


def _swin(state: Mapping[str, Tensor], projection: Tensor) -> dict[str, Any]:
    stages = range(_depth(state, "layers."))
    tables = [state[f"layers.{i}.blocks.0.attn.relative_position_bias_table"] for i in stages]
    # of 32 patches of four pixels per window, as published: 7 at 224 and 12 at 384 pixels
    window = (math.isqrt(tables[0].shape[0]) + 1) // 2
    patch = projection.shape[-1]
    return dict(
        type="SwinTransformer",
        arch=dict(
            embed_dim=projection.shape[0],
            depths=[_depth(state, f"layers.{i}.blocks.") for i in stages],
            num_heads=[table.shape[1] for table in tables],
        ),
        image_size=patch * 2 ** (len(tables) - 1) * window,
        patch_size=patch,
        window_size=window,
        in_channels=projection.shape[1],
        mlp_ratio=_ratio(state, "layers.0.blocks.0.", projection.shape[0]),
    )


def _gated(state: Mapping[str, Tensor], block: str) -> bool:
    """Whether the first layer of an MLP holds gates and values, twice as wide as the last."""
    return len(state[f"{block}mlp.fc1.weight"]) == 2 * state[f"{block}mlp.fc2.weight"].shape[1]


def _ratio(state: Mapping[str, Tensor], block: str, width: int) -> float:
    hidden = state[f"{block}mlp.fc2.weight"].shape[1]
    return (1.5 if _gated(state, block) else 1.0) * hidden / width


def _vit(
    state: Mapping[str, Tensor],
    projection: Tensor,
    facts: Facts,
    origin: str | None,
    path: str | Path,
) -> tuple[dict[str, Any], list[str]]:
    width, channels, patch = projection.shape[0], projection.shape[1], projection.shape[-1]
    heads, notes = _heads(state, width, facts, path)
    grid = _grid(state, facts, patch, path)
    settings: dict[str, Any] = dict(
        type="ViT",
        arch=dict(embed_dim=width, depth=_depth(state, "blocks."), num_heads=heads),
        image_size=[grid[0] * patch, grid[1] * patch],
        patch_size=patch,
        in_channels=channels,
        position=_position(state, grid),
        qkv_bias="qkv" if f"{FIRST}qkv.bias" in state
        else "qv" if f"{FIRST}q_bias" in state else "none",
        mlp_ratio=_ratio(state, "blocks.0.", width),
        mask_token="mask_token" in state,
        norm_eps=NORM_EPS.get(origin or "", 1e-6),
    )  # fmt: skip
    settings |= dict(class_token=False) if "cls_token" not in state else {}
    settings |= dict(mlp="swiglu") if _gated(state, "blocks.0.") else {}
    rule = resize_rule(origin, state)
    if rule is not None:
        settings |= dict(interpolate_offset=rule[0], interpolate_antialias=rule[1])
    relative, table = _relative(state)
    if origin is not None and FORMATS[origin].relative_position is not None:
        relative = FORMATS[origin].relative_position
    if relative is not None:
        settings["relative_position"] = relative
    if table is not None:
        side = (math.isqrt(max(table.shape[0] - 3, 0)) + 1) // 2
        settings["relative_grid"] = list(facts.relative_grid or (side, side))
    if "blocks.0.ls1.gamma" in state:
        settings["layer_scale"] = 1e-5  # the file's own take its place
    tokens = [key.split(".")[1] for key in state if key.startswith("prefix_tokens.")]
    if tokens:
        settings["prefix_tokens"] = tokens
    return settings, notes


def _relative(state: Mapping[str, Tensor]) -> tuple[str | None, Tensor | None]:
    """Kind of relative positions, and the table of their bias."""
    if SHARED in state:
        return "shared_bias", state[SHARED]
    table = state.get(f"{FIRST}relative_position_bias_table")
    if table is not None:
        return "block_bias", table
    return ("irpe" if f"{FIRST}rpe_k.lookup_table_weight" in state else None), None


def _heads(
    state: Mapping[str, Tensor], width: int, facts: Facts, path: str | Path
) -> tuple[int, list[str]]:
    """The number of attention heads, and what was assumed."""
    _, table = _relative(state)
    if table is not None:
        return int(table.shape[1]), []
    lookup = state.get(f"{FIRST}rpe_k.lookup_table_weight")
    if lookup is not None:
        return width // int(lookup.shape[1]), []
    if facts.heads is not None:
        return facts.heads[0], []
    if width % HEAD_WIDTH:
        raise CheckpointError(
            f"{path} does not say how its encoder is built: no tensor shows the number of "
            f"attention heads, and no published model has its {width} channels: {HOW}."
        )
    heads = width // HEAD_WIDTH
    return heads, [
        f"{path} does not say its number of attention heads: {heads} are assumed, {HEAD_WIDTH} "
        f"channels per head as in most published models (MoCo v3's and CAE's ViT-S have 12)."
    ]


def _grid(
    state: Mapping[str, Tensor], facts: Facts, patch: int, path: str | Path
) -> tuple[int, int]:
    """Rows and columns of patches in pretraining."""
    positions, (_, table) = state.get("pos_embed"), _relative(state)
    rows = 0 if positions is None else positions.shape[1] - 1
    if facts.grid is not None and (positions is None or facts.grid[0] * facts.grid[1] == rows):
        return facts.grid
    if positions is None:
        # tables of windows are smaller than the image
        side = 0 if table is None else (math.isqrt(max(table.shape[0] - 3, 0)) + 1) // 2
        side = max(side, IMAGE_SIZE // patch) if side in (0, 7) else side
        return side, side
    side = math.isqrt(rows)
    if side * side != rows:
        raise CheckpointError(
            f"{path} has a position table of {rows} patches, which is no square, and does not say "
            f"the size of its images: {HOW}."
        )
    return side, side


def _position(state: Mapping[str, Tensor], grid: tuple[int, int]) -> str:
    """Kind of the absolute positions; a table that is a fixed one stays fixed."""
    table = state.get("pos_embed")
    if table is None:
        return "none"
    for order in SINCOS if table.shape[-1] % 4 == 0 else ():
        fixed = sincos_table(grid, table.shape[-1], order)
        if torch.allclose(table.float(), fixed, atol=1e-5):
            return order
    return "learned"
