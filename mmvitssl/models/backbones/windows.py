"""Attention inside windows of a map, with relative positions decomposed into rows and columns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import window_partition, window_reverse
from torch import Tensor, nn

Grid = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Windows of a map of tokens, which is padded with zeros on the right and below (ViTDet).

    Attributes:
        size: side of a window in tokens.
        grid: rows and columns of the map.
    """

    size: int
    grid: Grid

    @property
    def padded(self) -> Grid:
        """Rows and columns in whole windows."""
        rows, columns = (side + -side % self.size for side in self.grid)
        return rows, columns

    def cut(self, tokens: Tensor) -> Tensor:
        """(B, h * w, C) -> (B * windows, size * size, C)."""
        below, right = (after - side for after, side in zip(self.padded, self.grid, strict=True))
        cells = F.pad(tokens.unflatten(1, self.grid), (0, 0, 0, right, 0, below))
        return window_partition(cells, (self.size, self.size)).flatten(1, 2)

    def join(self, windows: Tensor) -> Tensor:
        """(B * windows, size * size, C) -> (B, h * w, C); what was padded is dropped."""
        side = (self.size, self.size)
        cells = window_reverse(windows.unflatten(1, side), side, *self.padded)
        return cells[:, : self.grid[0], : self.grid[1]].flatten(1, 2)


def _axis_vectors(table: Tensor, side: int) -> Tensor:
    """(side, side, d) vectors of query and key coordinates; another size of table is resized."""
    length = 2 * side - 1
    if table.shape[0] != length:
        table = F.interpolate(table.T[None], length, mode="linear")[0].T
    places = torch.arange(side, device=table.device)
    return table[places[:, None] - places[None, :] + side - 1]


class DecomposedPositions(nn.Module):
    """Relative positions as a row and a column vector, multiplied with the query.

    From MViTv2 (Li et al., 2022) and ViTDet. As officially, heads share the tables, and these start
    from zero. A map of another size resizes the tables, linearly.

    Args:
        grid: rows and columns that the tables are made for.
        head_dim: channels of a head.
        scaled: whether queries are scaled by 1 / sqrt(d) here too; ViTDet's are not.
    """

    def __init__(self, grid: Grid, head_dim: int, scaled: bool = False) -> None:
        super().__init__()
        self.scale = head_dim**-0.5 if scaled else 1.0
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid[0] - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid[1] - 1, head_dim))

    def forward(self, queries: Tensor, grid: Grid) -> Tensor:
        """(R, H, h * w, d) queries of a map of ``grid`` -> (R, H, h * w, h * w) logits to add."""
        cells = queries.unflatten(2, grid)
        down = _axis_vectors(self.rel_pos_h * self.scale, grid[0]).to(queries.dtype)
        across = _axis_vectors(self.rel_pos_w * self.scale, grid[1]).to(queries.dtype)
        rows = torch.einsum("rnhwd,hkd->rnhwk", cells, down)
        columns = torch.einsum("rnhwd,wkd->rnhwk", cells, across)
        return (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)
