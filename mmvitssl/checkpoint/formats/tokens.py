"""Tokens beside the class token: registers (DINOv2), DeiT's distillation token, and their rows.

Here every such token has a name of its own, ``prefix_tokens.NAME``, and the position table has one
row for the class token and one per patch. Elsewhere registers are one tensor (1, R, C), and the
table has rows for all tokens, for the class token, or for patches alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.models.backbones.position import infer_grid

Grid = tuple[int, int]
State = dict[str, Tensor]
FRONT = "prefix_tokens."
REGISTER = FRONT + "register_"
DISTILLATION = FRONT + "distillation"
FOLDED = "its rows beside the class token and the patches are added to those tokens here"
NO_CLASS_ROW = "it has no row for the class token; here that row is zero"


def add_class_row(part: State) -> State:
    """A table of patches alone, with the row for a class token that tables here have."""
    table = part.get("pos_embed")
    if table is None or table.ndim != 3:
        return part
    own = math.isqrt(table.shape[1] - 1) ** 2 == table.shape[1] - 1 and not table[:, 0].any()
    if own:  # an encoder of this package, saved by itself
        return part
    return {**part, "pos_embed": torch.cat([torch.zeros_like(table[:, :1]), table], dim=1)}


def drop_class_row(part: State) -> State:
    """The inverse of :func:`add_class_row`."""
    return {k: v[:, 1:].clone() if k == "pos_embed" else v for k, v in part.items()}


def _extra_rows(rows: int, tokens: int, grid: Grid | None, may_lack: bool) -> int:
    """Rows before those of the patches, in a table of ``rows`` with ``tokens`` before the patches.

    Args:
        rows: of the table.
        tokens: class token and others.
        grid: of the model that reads it; None: not known.
        may_lack: whether the table may have no row for the class token.

    Raises:
        CheckpointError: nothing tells.
    """
    candidates = list(dict.fromkeys((tokens, 1, *((0,) if may_lack else ()))))

    def fits(patches: int) -> bool:
        if patches < 1:
            return False
        try:
            infer_grid(patches, grid or (1, 1))
        except ValueError:
            return False
        return True

    exact = [n for n in candidates if grid is not None and rows - n == grid[0] * grid[1]]
    found = exact or [n for n in candidates if fits(rows - n)]
    if not found and len(candidates) == 1:
        return 1  # the usual one, of a grid that is not square
    if not found:
        raise CheckpointError(
            f"pos_embed has {rows} rows and the file {tokens} tokens before the patches: how many "
            f"of the rows are patches cannot be told. Build the encoder with the image_size of the "
            f"pretraining."
        )
    return found[0]


def split_tokens(
    state: State, grid: Grid | None, registers: tuple[str, ...] = ("reg_token",)
) -> tuple[State, dict[str, str]]:
    """Their registers and distillation token as named tokens; see :attr:`Format.before`.

    Args:
        state: with their names.
        grid: of the model that reads it; None: the grid is square.
        registers: names that the tensor of registers may have.

    Returns:
        the state, and the reason for each tensor of theirs that is kept as it was.
    """
    state = dict(state)
    names = []
    if "dist_token" in state:
        state[DISTILLATION] = state.pop("dist_token")
        names.append(DISTILLATION)
    found = next((name for name in registers if name in state), None)
    if found is not None:
        for i, token in enumerate(state.pop(found).unbind(1), 1):
            state[f"{REGISTER}{i}"] = token[:, None]
            names.append(f"{REGISTER}{i}")
    table = state.get("pos_embed")
    if table is None or table.ndim != 3:
        return state, {}
    # DeiT III's and DINOv2's tables in timm are of patches alone
    may_lack = found is not None or "blocks.0.ls1.gamma" in state
    rows = _extra_rows(table.shape[1], 1 + len(names), grid, may_lack)
    if rows == 1:
        return state, {}
    if rows == 0:
        state["pos_embed"] = torch.cat([torch.zeros_like(table[:, :1]), table], dim=1)
        return state, {"pos_embed": NO_CLASS_ROW}
    state["pos_embed"] = torch.cat([table[:, :1], table[:, rows:]], dim=1)
    for i, name in enumerate(names, 1):
        state[name] = state[name] + table[:, i : i + 1]
    kept = {"pos_embed": FOLDED}
    if bool((table[:, 1:rows] != 0).any()):
        kept |= {"dist_token": FOLDED} if names[0] == DISTILLATION else {}
        kept |= {} if found is None else {found: FOLDED}
    return state, kept


def join_tokens(state: State, registers: str = "reg_token") -> State:
    """The inverse, with one row of the position table for the class token; see :attr:`after`."""
    state = dict(state)
    names = [key for key in state if key.startswith(FRONT)]
    if names == [DISTILLATION]:
        state["dist_token"] = state.pop(DISTILLATION)
    elif names:
        state[registers] = torch.cat([state.pop(name) for name in names], dim=1)
    return state
