"""Relative positions of tokens: BEiT's bias tables and LoMaR's contextual iRPE.

Coordinates are (S, K, 2) long, row and column in patches; S is 1 where all rows of a batch have the
same relative positions, and R otherwise. L = prefix + K tokens.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.interpolate import RectBivariateSpline
from torch import Tensor, nn

from mmvitssl.structures import TokenPlan

RELATIVE_KINDS = ("shared_bias", "block_bias", "irpe", "rope")
ROTARY_BASE = 100.0  # DINOv3's
IRPE_ALPHA, IRPE_BETA, IRPE_GAMMA = 1.9, 3.8, 15.2
IRPE_SIDE = 2 * int(IRPE_BETA) + 1  # buckets of one axis
IRPE_BUCKETS = IRPE_SIDE**2 + 1  # and one for all pairs with a prefix token


def grid_coordinates(grid: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """(1, rows * columns, 2) coordinates of a grid in raster order."""
    axes = [torch.arange(side, device=device) for side in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).view(1, -1, 2)


def patch_coordinates(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """(R, K) patch indices -> (R, K, 2) coordinates."""
    return torch.stack([patches // grid[1], patches % grid[1]], dim=-1)


def places_of(
    plan: TokenPlan | None, grid: tuple[int, int], device: torch.device, late: bool
) -> Tensor:
    """(1 or R, K, 2) coordinates of the tokens of a plan; ``late``: of its unmasked tokens only."""
    if plan is not None and plan.window is not None and plan.dropped is None:
        places = grid_coordinates(plan.window, device)
    elif plan is not None and plan.tokens is not None:
        places = patch_coordinates(plan.tokens, grid)
    else:
        places = grid_coordinates(grid, device)
    if late:
        assert plan is not None
        slots = plan.visible_slots()[..., None].expand(-1, -1, 2)
        places = places.expand(slots.shape[0], -1, -1).gather(1, slots)
    return places


def _offsets(coordinates: Tensor) -> Tensor:
    """(S, K, K, 2): position of the query minus that of the key."""
    return coordinates[:, :, None] - coordinates[:, None, :]


def _with_prefix(index: Tensor, prefix: int, row: int, column: int, both: int) -> Tensor:
    """Put prefix tokens before (S, K, K): queries get ``row``, keys ``column``, pairs ``both``."""
    index = F.pad(index, (prefix, 0, 0, 0), value=column)
    index = F.pad(index, (0, 0, prefix, 0), value=row)
    corner = torch.zeros(index.shape[-1], dtype=torch.bool, device=index.device)
    corner[:prefix] = True
    return index.masked_fill(corner[:, None] & corner[None, :], both)


def bias_rows(grid: tuple[int, int]) -> int:
    """Rows of a bias table: all offsets of two patches, and three for the class token."""
    return (2 * grid[0] - 1) * (2 * grid[1] - 1) + 3


def bias_index(coordinates: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
    """Rows of BEiT's bias table for all pairs of tokens.

    Args:
        coordinates: (S, K, 2); no two may lie further apart than in ``grid``.
        grid: rows and columns that the table is made for.
        prefix: tokens before the patches; all are treated as BEiT treats its class token.

    Returns:
        (S, L, L) long.
    """
    offsets = _offsets(coordinates)
    rows, columns = offsets[..., 0] + grid[0] - 1, offsets[..., 1] + grid[1] - 1
    last = bias_rows(grid) - 1
    index = rows * (2 * grid[1] - 1) + columns
    return _with_prefix(index, prefix, row=last - 2, column=last - 1, both=last)


def irpe_bucket(offset: Tensor) -> Tensor:
    """iRPE's piecewise index of one axis: exact up to alpha, then logarithmic, clipped at beta.

    With the published constants: 0, +-1 are themselves, +-2 and +-3 are +-2, beyond is +-3.
    """
    distance = offset.abs().float()
    far = torch.log(distance.clamp(min=1.0) / IRPE_ALPHA) / math.log(IRPE_GAMMA / IRPE_ALPHA)
    far = (IRPE_ALPHA + far * (IRPE_BETA - IRPE_ALPHA)).round().clamp(max=IRPE_BETA)
    bucket = torch.where(distance <= IRPE_ALPHA, distance, far).long()  # 3.8 becomes 3
    return bucket * offset.sign()


def irpe_index(coordinates: Tensor, prefix: int) -> Tensor:
    """Buckets of the product method for all pairs of tokens: (S, K, 2) -> (S, L, L) long."""
    half = IRPE_SIDE // 2
    buckets = irpe_bucket(_offsets(coordinates)) + half
    index = buckets[..., 0] * IRPE_SIDE + buckets[..., 1]
    skip = IRPE_BUCKETS - 1
    return _with_prefix(index, prefix, row=skip, column=skip, both=skip)


def table_span(
    window: tuple[int, int] | None, grid: tuple[int, int], table: tuple[int, int]
) -> tuple[int, int]:
    """The grid whose rows of a bias table are read: the image's, or inside windows the table's own.

    Args:
        window: rows and columns of the windows of a plan, or None.
        grid: of the image.
        table: of the bias table.

    Raises:
        ValueError: a window is larger than the table's grid.
    """
    if window is None:
        return grid
    if any(side > most for side, most in zip(window, table, strict=True)):
        raise ValueError(
            f"Windows of {window} patches do not fit bias tables for {table}: raise "
            f"ViT.relative_grid."
        )
    return table  # offsets inside a window are rows of the table as they are


def resized_table(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A bias table for another grid, bicubic and differentiable; the last three rows are kept."""
    if old == new:
        return table
    size = [(2 * side - 1) for side in old]
    offsets = table[:-3].T.reshape(1, -1, *size)
    offsets = F.interpolate(offsets, [2 * side - 1 for side in new], mode="bicubic")
    return torch.cat([offsets.flatten(2)[0].T, table[-3:]])


def _offsets_of_axis(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Where BEiT puts the offsets of a table of ``old`` patches, and those of ``new`` ones.

    The wanted offsets are whole numbers. The known ones lie in a geometric progression about 0 that
    ends, if its factor can stay between 1.01 and 1.5, where the wanted ones do.
    """
    wanted = np.arange(1.0 - new, new)
    if old == new:
        return wanted, wanted
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        factor = (low + high) / 2
        reach = (factor ** (old - 1) - 1) / (factor - 1)
        low, high = (low, factor) if reach > new - 1 else (factor, high)
    steps = np.cumsum(factor ** np.arange(old - 1))
    return np.concatenate([-steps[::-1], [0.0], steps]), wanted


def converted_table(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A bias table for another grid as BEiT's fine-tuning converts a checkpoint.

    A cubic spline on a geometric progression of coordinates, so that near offsets keep their
    resolution; beyond the known offsets the outermost values go on. The last three rows stay.

    Raises:
        ValueError: a table of a single row or column of patches has nothing to interpolate.
    """
    if old == new:
        return table
    if min(old) < 2:
        raise ValueError(f"Bias tables for {old[0]}x{old[1]} patches cannot be resized.")
    axes = [_offsets_of_axis(*sides) for sides in zip(old, new, strict=True)]
    (rows, new_rows), (columns, new_columns) = axes
    values = table[:-3].detach().cpu().double().T.unflatten(1, (len(rows), len(columns))).numpy()
    orders = {"kx": min(3, len(rows) - 1), "ky": min(3, len(columns) - 1)}
    splines = [RectBivariateSpline(rows, columns, head, **orders) for head in values]
    resized = np.stack([spline(new_rows, new_columns).ravel() for spline in splines], axis=1)
    return torch.cat([torch.from_numpy(resized).to(table), table[-3:]])


class RelativeBias(nn.Module):
    """BEiT's relative position bias, added to the attention logits (its section 2.1).

    Args:
        grid: rows and columns in patches.
        num_heads: heads.
    """

    def __init__(self, grid: tuple[int, int], num_heads: int) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros(bias_rows(grid), num_heads))

    def forward(self, index: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
        """(S, L, L) rows of a table for the grid ``new`` -> (S, heads, L, L)."""
        return lookup_bias(resized_table(self.relative_position_bias_table, old, new), index)


def lookup_bias(table: Tensor, index: Tensor) -> Tensor:
    """(S, L, L) rows of ``table`` (rows, heads) -> (S, heads, L, L)."""
    return table.T[:, index].transpose(0, 1)


class ContextualKeys(nn.Module):
    """iRPE on keys: a learned vector a bucket, multiplied with the query (LoMaR, section 3.2).

    The query is not scaled by 1 / sqrt(d), as in LoMaR's official code.

    Args:
        head_dim: channels of a head; heads share the table.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.lookup_table_weight = nn.Parameter(torch.zeros(1, head_dim, IRPE_BUCKETS))

    def forward(self, queries: Tensor, index: Tensor) -> Tensor:
        """(R, H, L, d) queries and (S, L, L) buckets -> (R, H, L, L) logits to add."""
        by_bucket = queries @ self.lookup_table_weight[0].to(queries.dtype)
        index = index[:, None].expand(*by_bucket.shape[:2], -1, -1)
        return by_bucket.gather(-1, index)


def rotary_table(places: Tensor, grid: tuple[int, int], channels: int, prefix: int) -> Tensor:
    """Sines and cosines of axial rotary positions (DINOv3), of the tokens of each row.

    Centres of patches lie in [-1, 1] on both axes; a quarter of the channels has frequencies of
    the row, the next of the column, and the second half repeats them.

    Args:
        places: (1 or R, K, 2) rows and columns of patches.
        grid: of the image.
        channels: of a head, divisible by 4.
        prefix: tokens before the patches, which are not rotated.

    Returns:
        (1 or R, prefix + K, 2 * channels) sines, then cosines.
    """
    sides = torch.tensor(grid, device=places.device)
    centres = 2 * (places.float() + 0.5) / sides - 1
    powers = torch.arange(channels // 4, device=places.device) / (channels // 4)
    angles = 2 * math.pi * centres[..., None] / ROTARY_BASE**powers
    angles = angles.flatten(-2).repeat(1, 1, 2)
    angles = F.pad(angles, (0, 0, prefix, 0))  # an angle of 0 rotates nothing
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def rotated(x: Tensor, table: Tensor) -> Tensor:
    """(R, heads, L, d) queries or keys, rotated by (1 or R, L, 2 * d) sines and cosines."""
    sines, cosines = table[:, None].chunk(2, dim=-1)
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (x * cosines + turned * sines).to(x.dtype)
