"""Fitting the tables of a checkpoint to another grid or kind of relative bias."""

from __future__ import annotations

import math
import re

import torch
from timm.models import adapt_input_conv
from torch import Tensor

from mmvitssl.models.backbones.position import infer_grid
from mmvitssl.models.backbones.position import resized_table as resized_positions
from mmvitssl.models.backbones.relative import bias_rows, converted_table

PROJECTION = "patch_embed.proj.weight"
SHARED_TABLE = "rel_pos_bias.relative_position_bias_table"
BLOCK_TABLE = "blocks.{}.attn.relative_position_bias_table"
Grid = tuple[int, int]
State = dict[str, Tensor]


def adapt_positions(
    state: State,
    table: Tensor | None,
    grid: Grid,
    interpolation: str = "bicubic",
    antialias: bool = False,
    offset: float = 0.0,
    told: Grid | None = None,
) -> tuple[State, list[str]]:
    """Resize the position table of a state dict.

    Args:
        state: of an encoder.
        table: the model's own table; None: it has none.
        grid: of the model's table.
        interpolation: 'bicubic' or 'bilinear'.
        antialias: whether a table that shrinks is smoothed.
        offset: added to the new sides before the scale is computed, see ``ViT``.
        told: grid of the state's table, where the checkpoint says it; else it is inferred from the
            number of rows.

    Returns:
        the adapted copy, and a line that says what was resized.

    Raises:
        ValueError: the number of rows tells no grid.
    """
    theirs = state.get("pos_embed")
    if theirs is None or table is None:
        return state, []
    if theirs.shape[-1] != table.shape[-1]:
        return state, []  # another width: the shape check of the loader reports it
    patches = theirs.shape[1] - 1
    known = told is not None and told[0] * told[1] == patches
    old = told if told is not None and known else infer_grid(patches, grid)
    if old == grid:
        return state, []
    resized = resized_positions(theirs, old, grid, offset, interpolation, antialias)
    note = f"pos_embed {old[0]}x{old[1]} -> {grid[0]}x{grid[1]} ({interpolation})"
    if not known:
        note += "; the file does not say its grid, which is guessed from the number of rows"
    return {**state, "pos_embed": resized}, [note]


def adapt_channels(state: State, channels: int) -> tuple[State, list[str]]:
    """Fit a patch projection of RGB to another number of channels, by timm's rule.

    One channel: the sum over red, green and blue, so that a grey image gives the tokens that its
    three equal channels gave. N channels: red, green and blue are repeated in this order as often
    as needed, times 3 / N, so that the tokens keep their scale.

    Args:
        state: of an encoder.
        channels: of the model's images.

    Returns:
        the adapted copy, and a line that says what was adapted. Projections of other than three
        channels are left as they are: the shape check of the loader reports them.
    """
    weight = state.get(PROJECTION)
    if weight is None or weight.ndim != 4 or weight.shape[1] != 3 or channels == 3:
        return state, []
    rule = "summed" if channels == 1 else f"repeated, times 3 / {channels}"
    adapted = adapt_input_conv(channels, weight)
    return {**state, PROJECTION: adapted}, [f"{PROJECTION} from 3 channels to {channels} ({rule})"]


def _table_grid(rows: int, like: Grid, told: Grid | None) -> Grid | None:
    """The grid of a bias table: as ``told``, else ``like`` where it fits, else a square one."""
    if told is not None and rows == bias_rows(told):
        return told
    if rows == bias_rows(like):
        return like
    side = (math.isqrt(max(rows - 3, 0)) + 1) // 2
    return (side, side) if side and rows == bias_rows((side, side)) else None


def _share_out(state: State, depth: int) -> tuple[State, list[str]]:
    """One shared table for every block, as BEiT's fine-tuning does."""
    state = dict(state)
    table = state.pop(SHARED_TABLE)
    state.update({BLOCK_TABLE.format(i): table.clone() for i in range(depth)})
    return state, [f"{SHARED_TABLE} -> a table for each of {depth} blocks"]


def adapt_tables(
    state: State, kind: str | None, grid: Grid, depth: int, told: Grid | None = None
) -> tuple[State, list[str]]:
    """Fit BEiT's bias tables: shared to every block, and to another grid as published.

    Args:
        state: of an encoder.
        kind: the model's ``relative_position``.
        grid: of the model's tables.
        depth: blocks of the model.
        told: grid of the state's tables, where the checkpoint says it.

    Returns:
        the adapted copy, and a line for each kind of change.
    """
    notes: list[str] = []
    if kind == "block_bias" and SHARED_TABLE in state:
        state, notes = _share_out(state, depth)
    if kind not in ("shared_bias", "block_bias"):
        return state, notes
    resized = {}
    for key, table in state.items():
        if re.fullmatch(r"(blocks\.\d+\.attn|rel_pos_bias)\.relative_position_bias_table", key):
            old = _table_grid(table.shape[0], grid, told)
            if old is not None and old != grid:
                resized[key] = converted_table(table, old, grid)
                size = f"{old[0]}x{old[1]} -> {grid[0]}x{grid[1]}"
    if resized:
        notes.append(f"{len(resized)} relative position bias tables {size} (geometric, cubic)")
    return {**state, **resized}, notes


def add_new(state: State, own: State, new_relative: bool) -> tuple[State, list[str]]:
    """Add what fine-tuning has beside the pretrained tensors, at values that change nothing.

    Args:
        state: of a checkpoint's encoder.
        own: of the model's.
        new_relative: whether bias tables may be missing; they start from zero.

    Returns:
        the state with them, and a line for each kind. Residual scales may be missing where the
        model's start from 1.
    """
    notes = []
    tables = [key for key in own if "relative_position_bias_table" in key]
    if new_relative and tables and not set(tables) & set(state):
        notes.append(f"{len(tables)} relative position bias tables start from zero")
        state = {**state, **{key: torch.zeros_like(own[key]) for key in tables}}
    scales = [key for key in own if re.fullmatch(r"blocks\.\d+\.ls[12]\.gamma", key)]
    if scales and not set(scales) & set(state) and all(bool((own[k] == 1).all()) for k in scales):
        notes.append(f"{len(scales)} residual scales start from one")
        state = {**state, **{key: own[key] for key in scales}}
    return state, notes
