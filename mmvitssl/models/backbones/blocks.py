"""Transformer blocks with relative positions, on timm layers and with timm's parameter names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import DropPath, LayerScale, Mlp
from torch import Tensor, nn

from mmvitssl.models.backbones.relative import ContextualKeys, bias_rows, lookup_bias, resized_table

BIAS_KINDS = ("qkv", "qv", "none")
Grid = tuple[int, int]


class Attention(nn.Module):
    """Multi-head self-attention.

    Args:
        dim: channels.
        num_heads: heads; they must divide ``dim``.
        bias: 'qkv', 'qv' (BEiT, CAE: keys have none) or 'none'.
        relative: 'block_bias' (a bias table of its own), 'irpe' (contextual keys) or None; a
            shared bias comes with the call.
        grid: of the bias table.

    Raises:
        ValueError: the heads do not divide the channels, or an unknown ``bias``.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        bias: str = "qkv",
        relative: str | None = None,
        grid: Grid = (1, 1),
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {dim} channels.")
        if bias not in BIAS_KINDS:
            raise ValueError(f"The bias of attention is one of {BIAS_KINDS}, not '{bias}'.")
        self.num_heads, self.grid = num_heads, grid
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias == "qkv")
        self.q_bias = nn.Parameter(torch.zeros(dim)) if bias == "qv" else None
        self.v_bias = nn.Parameter(torch.zeros(dim)) if bias == "qv" else None
        self.relative_position_bias_table = (
            nn.Parameter(torch.zeros(bias_rows(grid), num_heads))
            if relative == "block_bias"
            else None
        )
        self.rpe_k = ContextualKeys(dim // num_heads) if relative == "irpe" else None
        self.proj = nn.Linear(dim, dim)

    def _bias(self) -> Tensor | None:
        if self.q_bias is None or self.v_bias is None:
            return self.qkv.bias
        return torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        index: Tensor | None = None,
        grid: Grid | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            x: (R, L, C).
            bias: (1 or R, heads, L, L) added to the scaled logits.
            index: (1 or R, L, L) relative positions of all pairs, for a table or contextual keys.
            grid: that ``index`` counts offsets in; None: the table's.

        Returns:
            (R, L, C).
        """
        rows, length, channels = x.shape
        qkv = F.linear(x, self.qkv.weight, self._bias())
        qkv = qkv.view(rows, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if self.rpe_k is not None:
            assert index is not None
            bias = self.rpe_k(q, index)
        elif self.relative_position_bias_table is not None:
            assert index is not None
            table = resized_table(self.relative_position_bias_table, self.grid, grid or self.grid)
            bias = lookup_bias(table, index)
        if bias is not None:
            bias = bias.to(q.dtype)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(out.transpose(1, 2).reshape(rows, length, channels))


class Block(nn.Module):
    """Pre-norm transformer block: attention and MLP, residual scales, stochastic depth.

    Args:
        dim, num_heads, bias, relative, grid: see :class:`Attention`.
        mlp_ratio: hidden width of the MLP over ``dim``.
        drop_path: rate of stochastic depth.
        layer_scale: initial value of the residual scales; None: none.
        norm_eps: epsilon of the layer norms.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        bias: str = "qkv",
        relative: str | None = None,
        grid: Grid = (1, 1),
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, num_heads, bias, relative, grid)
        self.ls1 = LayerScale(dim, layer_scale) if layer_scale else nn.Identity()
        self.drop_path1 = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.ls2 = LayerScale(dim, layer_scale) if layer_scale else nn.Identity()
        self.drop_path2 = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        index: Tensor | None = None,
        grid: Grid | None = None,
    ) -> Tensor:
        """(R, L, C) -> (R, L, C); see :meth:`Attention.forward`."""
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x), bias, index, grid)))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))
