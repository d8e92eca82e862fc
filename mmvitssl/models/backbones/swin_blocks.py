"""Blocks of the Swin Transformer, with timm's parameter names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from timm.models.swin_transformer import (
    get_relative_position_index,
    window_partition,
    window_reverse,
)
from torch import Tensor, nn

from mmvitssl.models.stochastic_depth import DropPath


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a table of relative position biases."""

    relative_position_index: Tensor

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {dim} channels.")
        self.num_heads = num_heads
        rows = (2 * window_size - 1) ** 2
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, num_heads))
        index = get_relative_position_index(window_size, window_size)
        self.register_buffer("relative_position_index", index, persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(W * B, L, C) windows, (W, L, L) additive mask -> (W * B, L, C)."""
        rows, length, channels = x.shape
        qkv = self.qkv(x).view(rows, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table.T[:, self.relative_position_index]
        bias = bias.to(qkv.dtype)[None]
        if mask is not None:
            both = bias[None] + mask.to(bias.dtype)[None, :, None]
            images = rows // mask.shape[0]
            bias = both.expand(images, -1, -1, -1, -1).flatten(0, 1)
        q, k, v = qkv.unbind(0)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(out.transpose(1, 2).reshape(rows, length, channels))


def _spans(window: int, shift: int) -> tuple[slice, ...]:
    """What belongs together on an axis that was shifted."""
    if shift == 0:
        return (slice(None),)
    return slice(0, -window), slice(-window, -shift), slice(-shift, None)


def shift_mask(
    size: tuple[int, int], window: int, shift: tuple[int, int], device: torch.device
) -> Tensor:
    """(W, L, L): 0 between patches of one region of a shifted map, -100 between regions."""
    regions = torch.zeros(1, *size, 1, device=device)
    number = 0
    for rows in _spans(window, shift[0]):
        for columns in _spans(window, shift[1]):
            regions[:, rows, columns] = number
            number += 1
    windows = window_partition(regions, (window, window)).view(-1, window * window)
    apart = windows[:, None] != windows[:, :, None]
    return torch.zeros_like(apart, dtype=torch.float32).masked_fill(apart, -100.0)


class SwinBlock(nn.Module):
    """Window attention and MLP, pre-norm.

    Args:
        dim: channels.
        num_heads: heads.
        window_size: side of a window in patches.
        shifted: whether windows are shifted by half their side, on the axes on which the map is
            larger than a window.
        mlp_ratio: hidden width of the MLP over ``dim``.
        drop_path: rate of stochastic depth.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int,
        shifted: bool,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.shift = window_size // 2 if shifted else 0
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window_size)
        self.drop_path1 = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path2 = DropPath(drop_path) if drop_path else nn.Identity()

    def _attend(self, x: Tensor) -> Tensor:
        _, height, width, channels = x.shape
        window = self.window_size
        shift = (
            self.shift if height > window else 0,
            self.shift if width > window else 0,
        )
        x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
        size = (x.shape[1], x.shape[2])
        mask = None
        if any(shift):
            x = x.roll((-shift[0], -shift[1]), dims=(1, 2))
            mask = shift_mask(size, window, shift, x.device)
        windows = window_partition(x, (window, window)).reshape(-1, window * window, channels)
        windows = self.attn(windows, mask).view(-1, window, window, channels)
        x = window_reverse(windows, (window, window), *size)
        if any(shift):
            x = x.roll(shift, dims=(1, 2))
        return x[:, :height, :width]

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h, w, C)."""
        x = x + self.drop_path1(self._attend(self.norm1(x)))
        return x + self.drop_path2(self.mlp(self.norm2(x)))
