"""Position tables of plain Vision Transformers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from mmvitssl.arguments import check_choice

SINCOS_AXES = {"sincos_row_first": ("row", "column"), "sincos_column_first": ("column", "row")}
POSITION_KINDS = ("learned", *SINCOS_AXES, "none")
INTERPOLATIONS = ("bicubic", "bilinear")


def _axis_table(coordinates: Tensor, channels: int) -> Tensor:
    """Sines then cosines of one coordinate: (N,) -> (N, channels)."""
    quarter = channels // 2
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = coordinates.double()[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_table(grid: tuple[int, int], channels: int, order: str) -> Tensor:
    """Fixed 2-D sine-cosine table with a zero row for the class token.

    Two published orders exist and are each other's transpose: ``sincos_row_first`` (MoCo v3, CAE)
    gives the first half of the channels to the row, ``sincos_column_first`` (MAE, LoMaR) to the
    column. Positions are the raw integer indices.

    Args:
        grid: rows and columns in patches.
        channels: must be divisible by 4.
        order: one of the two kinds above.

    Returns:
        (1, 1 + rows * columns, channels) float32.

    Raises:
        ValueError: the channels are not divisible by 4.
    """
    if channels % 4:
        raise ValueError(f"A sine-cosine table needs channels divisible by 4, not {channels}.")
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    axes = {"row": rows.flatten(), "column": columns.flatten()}
    halves = [_axis_table(axes[axis], channels // 2) for axis in SINCOS_AXES[order]]
    table = torch.cat(halves, dim=1)
    return torch.cat([torch.zeros(1, channels, dtype=table.dtype), table])[None].float()


def check_interpolation(kind: str) -> str:
    """The name of an interpolation, or ValueError."""
    check_choice("ViT.interpolation", kind, INTERPOLATIONS)
    return kind


def resized_table(
    table: Tensor,
    old: tuple[int, int],
    new: tuple[int, int],
    offset: float = 0.0,
    interpolation: str = "bicubic",
    antialias: bool = False,
) -> Tensor:
    """A position table for another grid: (1, 1 + N, C).

    Args:
        table: (1, 1 + N_old, C), the class token's row first.
        old: rows and columns of the table.
        new: those that are wanted.
        offset: added to the new sides before the scale is computed (DINO: 0.1).
        interpolation: 'bicubic' or 'bilinear'.
        antialias: whether a table that shrinks is smoothed (DINOv2 with registers).
    """
    if not offset:
        return resample_abs_pos_embed(
            table,
            list(new),
            list(old),
            num_prefix_tokens=1,
            interpolation=interpolation,
            antialias=antialias,
        )
    cells = table[:, 1:].unflatten(1, old).permute(0, 3, 1, 2)
    scale = [(side + offset) / before for side, before in zip(new, old, strict=True)]
    cells = F.interpolate(cells, scale_factor=scale, mode=interpolation, antialias=antialias)
    return torch.cat([table[:, :1], cells.flatten(2).transpose(1, 2)], dim=1)


def infer_grid(tokens: int, like: tuple[int, int]) -> tuple[int, int]:
    """The grid of a stored table of ``tokens`` patches.

    A square count is read as a square grid; otherwise the aspect ratio of ``like`` must fit.

    Raises:
        ValueError: no grid can be told from the count.
    """
    if tokens == like[0] * like[1]:
        return like
    side = math.isqrt(tokens)
    if side * side == tokens:
        return side, side
    rows = round(math.sqrt(tokens * like[0] / like[1]))
    if rows and tokens % rows == 0 and rows * like[1] == (tokens // rows) * like[0]:
        return rows, tokens // rows
    raise ValueError(
        f"A position table of {tokens} patches is neither square nor of the aspect of the model's "
        f"grid {like}; build the model with the image_size of the pretraining first."
    )
