"""Transformer blocks with relative positions, on timm layers and with timm's parameter names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import GluMlp, LayerScale, Mlp
from torch import Tensor, nn

from mmvitssl.arguments import check_choice
from mmvitssl.models.backbones.lora import LowRank
from mmvitssl.models.backbones.relative import (
    ContextualKeys,
    bias_rows,
    lookup_bias,
    resized_table,
    rotated,
)
from mmvitssl.models.backbones.windows import Windows
from mmvitssl.models.stochastic_depth import DropPath, dropped, recomputed

BIAS_KINDS = ("qkv", "qv", "none")
MLP_KINDS = ("gelu", "swiglu")
Grid = tuple[int, int]
# what is added to the scaled logits, or how it follows from the queries (R, heads, L, d)
Bias = Tensor | Callable[[Tensor], Tensor]


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """(R, heads, M, d) queries and (R, heads, L, d) keys -> (R, heads, M, L), rows sum to 1."""
    logits = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    return (logits if mask is None else logits + mask).softmax(dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention of (R, heads, L, d) queries, keys and values.

    On a CPU in bfloat16 it is computed in float32: PyTorch's kernel takes three times as long for
    the backward pass of short sequences (37 tokens: 44 ms against 15), and is less exact.
    """
    if q.dtype != torch.bfloat16 or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):
        mask = mask.float() if mask is not None and mask.is_floating_point() else mask
        out = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask)
    return out.to(q.dtype)


def run(block: nn.Module, recompute: bool, *inputs: Any) -> Tensor:
    """A block's output, which may be computed anew in the backward pass to save memory."""
    if recompute and torch.is_grad_enabled():
        return recomputed(block, *inputs)
    return block(*inputs)


class Attention(nn.Module):
    """Multi-head self-attention.

    Args:
        dim: channels.
        num_heads: heads; they must divide ``dim``.
        bias: 'qkv', 'qv' (BEiT, CAE: keys have none) or 'none'.
        relative: 'block_bias' (a bias table of its own), 'irpe' (contextual keys), 'rope' (rotated
            queries and keys, whose angles come with the call as ``index``) or None; a
            shared bias comes with the call.
        grid: of the bias table.
        lora: rank and alpha of a low-rank update of queries, keys and values; None: none.

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
        lora: tuple[int, float] | None = None,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {dim} channels.")
        if bias not in BIAS_KINDS:
            raise ValueError(f"The bias of attention is one of {BIAS_KINDS}, not '{bias}'.")
        self.num_heads, self.grid = num_heads, grid
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias == "qkv")
        self.qkv_lora = LowRank(dim, 3 * dim, *lora) if lora else None
        self.q_bias = nn.Parameter(torch.zeros(dim)) if bias == "qv" else None
        self.v_bias = nn.Parameter(torch.zeros(dim)) if bias == "qv" else None
        self.relative_position_bias_table = (
            nn.Parameter(torch.zeros(bias_rows(grid), num_heads))
            if relative == "block_bias"
            else None
        )
        self.rotary = relative == "rope"
        self.rpe_k = ContextualKeys(dim // num_heads) if relative == "irpe" else None
        self.proj = nn.Linear(dim, dim)

    def _bias(self) -> Tensor | None:
        if self.q_bias is None or self.v_bias is None:
            return self.qkv.bias
        return torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])

    def _own_bias(self, q: Tensor, index: Tensor | None, grid: Grid | None) -> Tensor | None:
        if self.rpe_k is not None:
            assert index is not None
            return self.rpe_k(q, index)
        if self.relative_position_bias_table is not None:
            assert index is not None
            table = resized_table(self.relative_position_bias_table, self.grid, grid or self.grid)
            return lookup_bias(table, index)
        return None

    def _projected(
        self, x: Tensor, bias: Bias | None, index: Tensor | None, grid: Grid | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Queries, keys and values (R, heads, L, d), and what is added to the scaled logits."""
        rows, length, _ = x.shape
        qkv = self.joint(x).view(rows, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if self.rotary:
            assert index is not None
            q, k = rotated(q, index), rotated(k, index)
        given = bias(q) if callable(bias) else bias
        own = self._own_bias(q, index, grid)
        total = given if own is None else own if given is None else own + given
        return q, k, v, None if total is None else total.to(q.dtype)

    def joint(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., 3 * C) queries, keys and values."""
        qkv = F.linear(x, self.qkv.weight, self._bias())
        return qkv if self.qkv_lora is None else qkv + self.qkv_lora(x)

    def attended(self, qkv: Tensor) -> Tensor:
        """(R, L, 3 * C) of :meth:`joint` -> (R, L, C), without relative positions."""
        q, k, v = qkv.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return attend(q, k, v).transpose(1, 2).flatten(2)

    def weights(
        self,
        x: Tensor,
        bias: Bias | None = None,
        index: Tensor | None = None,
        grid: Grid | None = None,
    ) -> Tensor:
        """(R, heads, L, L) what :meth:`forward` weighs values with, for pictures; rows sum to 1."""
        q, k, _, mask = self._projected(x, bias, index, grid)
        return attention_weights(q, k, mask)

    def forward(
        self,
        x: Tensor,
        bias: Bias | None = None,
        index: Tensor | None = None,
        grid: Grid | None = None,
        windows: Windows | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            x: (R, L, C).
            bias: (1 or R, heads, L, L) added to the scaled logits, or a function that makes it
                from the queries.
            index: (1 or R, L, L) relative positions of all pairs, for a table or contextual keys.
            grid: that ``index`` counts offsets in; None: the table's.
            windows: attend inside these; ``bias`` and ``index`` are then those of a window.

        Returns:
            (R, L, C).
        """
        if windows is not None:
            x = windows.cut(x)
        q, k, v, mask = self._projected(x, bias, index, grid)
        out = attend(q, k, v, mask)
        out = self.proj(out.transpose(1, 2).reshape(x.shape))
        return out if windows is None else windows.join(out)


def build_mlp(kind: str, dim: int, hidden: int) -> nn.Module:
    """The MLP of a block: ``hidden`` channels with GELU, or two thirds of them, gated.

    Raises:
        ValueError: an unknown kind.
    """
    check_choice("ViT.mlp", kind, MLP_KINDS)
    if kind == "gelu":
        return Mlp(dim, hidden)
    width = (int(hidden * 2 / 3) + 7) // 8 * 8  # of the gate and of the values
    return GluMlp(dim, 2 * width, act_layer=nn.SiLU, gate_last=False)


class Block(nn.Module):
    """Pre-norm transformer block: attention and MLP, residual scales, stochastic depth.

    Args:
        dim, num_heads, bias, relative, grid, lora: see :class:`Attention`.
        mlp_ratio: hidden width of the MLP over ``dim``.
        drop_path: rate of stochastic depth.
        layer_scale: initial value of the residual scales; None: none.
        norm_eps: epsilon of the layer norms.
        mlp: 'gelu', or 'swiglu': ``fc2(silu(gate) * value)`` with ``fc1`` making (gate, value).
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
        mlp: str = "gelu",
        lora: tuple[int, float] | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, num_heads, bias, relative, grid, lora)
        self.ls1 = LayerScale(dim, layer_scale) if layer_scale else nn.Identity()
        self.drop_path1 = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = build_mlp(mlp, dim, int(dim * mlp_ratio))
        self.ls2 = LayerScale(dim, layer_scale) if layer_scale else nn.Identity()
        self.drop_path2 = DropPath(drop_path) if drop_path else nn.Identity()

    def attention(
        self,
        x: Tensor,
        bias: Bias | None = None,
        index: Tensor | None = None,
        grid: Grid | None = None,
    ) -> Tensor:
        """(R, L, C) -> (R, heads, L, L): the weights of :meth:`Attention.weights`."""
        return self.attn.weights(self.norm1(x), bias, index, grid)

    def forward(
        self,
        x: Tensor,
        bias: Bias | None = None,
        index: Tensor | None = None,
        grid: Grid | None = None,
        windows: Windows | None = None,
    ) -> Tensor:
        """(R, L, C) -> (R, L, C); see :meth:`Attention.forward`."""
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x), bias, index, grid, windows)))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))

    def packed(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """(R_i, L_i, C) of several lengths as one sequence, whose rows attend to themselves.

        Norms, linear layers and the MLP run once for all tokens; the blocks of attention's diagonal
        run one by one, so that nothing outside them is computed.
        """
        lengths = [part.shape[:2].numel() for part in parts]

        def cut(tokens: Tensor) -> list[Tensor]:
            pieces = tokens.split(lengths)
            return [one.view(part.shape[0], part.shape[1], -1)
                    for one, part in zip(pieces, parts, strict=True)]  # fmt: skip

        def joined(pieces: Sequence[Tensor]) -> Tensor:
            return torch.cat([piece.flatten(0, 1) for piece in pieces])

        attended = [
            self.attn.attended(qkv) for qkv in cut(self.attn.joint(self.norm1(joined(parts))))
        ]
        first = cut(self.ls1(self.attn.proj(joined(attended))))
        first = dropped(self.drop_path1, first)
        parts = [part + one for part, one in zip(parts, first, strict=True)]
        second = cut(self.ls2(self.mlp(self.norm2(joined(parts)))))
        second = dropped(self.drop_path2, second)
        return [part + one for part, one in zip(parts, second, strict=True)]
