"""CAE's latent contextual regressor and decoder (Chen et al., 2022, section 3.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import LayerScale, Mlp
from torch import Tensor, nn

from mmvitssl.models.backbones.blocks import Block, attention_weights
from mmvitssl.models.backbones.initialisation import cut_normal, xavier_linears
from mmvitssl.models.backbones.position import sincos_table
from mmvitssl.models.stochastic_depth import DropPath
from mmvitssl.registry import MODELS


class CrossAttention(nn.Module):
    """Attention of queries over other tokens; biases of queries and values, none of keys."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {dim} channels.")
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, dim, bias=False)
        self.v = nn.Linear(dim, dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def weights(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(R, heads, M, K) what :meth:`forward` weighs values with, for pictures; rows sum to 1."""
        q = self._split(F.linear(queries, self.q.weight, self.q_bias))
        return attention_weights(q, self._split(self.k(keys)))

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(R, M, C) queries, (R, K, C) keys and values -> (R, M, C)."""
        out = F.scaled_dot_product_attention(
            self._split(F.linear(queries, self.q.weight, self.q_bias)),
            self._split(self.k(keys)),
            self._split(F.linear(values, self.v.weight, self.v_bias)),
        )
        return self.proj(out.transpose(1, 2).flatten(2))


class RegressorBlock(nn.Module):
    """Cross-attention block: positions go to queries and keys; the second norm has no by-pass."""

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float, drop_path: float, layer_scale: float
    ) -> None:
        super().__init__()
        self.norm1_q = nn.LayerNorm(dim, eps=1e-6)
        self.norm1_k = nn.LayerNorm(dim, eps=1e-6)
        self.norm1_v = nn.LayerNorm(dim, eps=1e-6)
        self.cross_attn = CrossAttention(dim, num_heads)
        self.ls1 = LayerScale(dim, layer_scale)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.ls2 = LayerScale(dim, layer_scale)
        self.drop_path1 = DropPath(drop_path) if drop_path else nn.Identity()
        self.drop_path2 = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(
        self, queries: Tensor, context: Tensor, query_position: Tensor, position: Tensor
    ) -> Tensor:
        attended = self.cross_attn(
            self.norm1_q(queries + query_position),
            self.norm1_k(context + position),
            self.norm1_v(context),
        )
        # the norm replaces the residual stream, as in both official releases
        x = self.norm2(queries + self.drop_path1(self.ls1(attended)))
        return x + self.drop_path2(self.ls2(self.mlp(x)))


@MODELS.register_module()
class ContextRegressor(nn.Module):
    """Predict the latents of masked patches from those of visible ones.

    Queries are a learned token per masked patch; keys and values are the visible latents, which are
    never updated, and the current queries. With ``attention='self'`` masked tokens and visible
    latents are one sequence, which plain blocks update: the choice that the paper calls slightly
    more expensive and slightly worse (section 3.2). Positions are then added once, before them.

    Args:
        width: channels of the latents; :class:`ContextAutoencoding` fills it in.
        num_heads: heads, as ``width``.
        depth: blocks; the paper's ablation has 1, 2, 4 and 5.
        drop_path: stochastic depth rate of the last block, growing linearly from 0.
        layer_scale: initial value of the residual scales.
        mlp_ratio: hidden width of the MLP over ``width``.
        attention: 'cross' or 'self'.

    Raises:
        ValueError: another ``attention``.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        depth: int = 4,
        drop_path: float = 0.1,
        layer_scale: float = 0.1,
        mlp_ratio: float = 4.0,
        attention: str = "cross",
    ) -> None:
        super().__init__()
        if attention not in ("cross", "self"):
            raise ValueError(
                f"ContextRegressor.attention='{attention}' is unknown; use 'cross' or 'self'."
            )
        self.width, self.attention = width, attention
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        rates = [drop_path * i / max(depth - 1, 1) for i in range(depth)]
        self.blocks = nn.ModuleList(
            RegressorBlock(width, num_heads, mlp_ratio, rate, layer_scale)
            if attention == "cross"
            else Block(
                width, num_heads, mlp_ratio, bias="qv", drop_path=rate, layer_scale=layer_scale
            )
            for rate in rates
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        xavier_linears(self)
        cut_normal(self.mask_token)

    def forward(self, visible: Tensor, position: Tensor, masked_position: Tensor) -> Tensor:
        """Regress.

        Args:
            visible: (R, K, C) latents without the class token.
            position: (R, K, C) of the visible patches.
            masked_position: (R, M, C).

        Returns:
            (R, M, C) predicted latents.
        """
        queries = self.mask_token.to(visible.dtype).expand(*masked_position.shape[:2], -1)
        positions = torch.cat([position, masked_position], dim=1)
        if self.attention == "self":
            tokens = torch.cat([visible, queries], dim=1) + positions
            for block in self.blocks:
                tokens = block(tokens)
            return self.norm(tokens[:, visible.shape[1] :])
        for block in self.blocks:
            context = torch.cat([visible, queries], dim=1)
            queries = block(queries, context, masked_position, positions)
        return self.norm(queries)


@MODELS.register_module()
class ContextDecoder(nn.Module):
    """Reconstruct masked patches from their predicted latents alone.

    Args:
        width: channels of the latents.
        out_channels: values per patch; the task takes those of its target.
        depth: self-attention blocks; 0 is the paper's ablation without decoder, a linear layer.
        num_heads, drop_path, layer_scale, mlp_ratio: see :class:`ContextRegressor`.
    """

    def __init__(
        self,
        width: int,
        out_channels: int,
        num_heads: int,
        depth: int = 4,
        drop_path: float = 0.1,
        layer_scale: float = 0.1,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.width, self.out_channels = width, out_channels
        self.blocks = nn.ModuleList(
            Block(
                width,
                num_heads,
                mlp_ratio,
                bias="qv",
                drop_path=drop_path * i / max(depth - 1, 1),
                layer_scale=layer_scale,
            )
            for i in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6) if depth else nn.Identity()
        self.head = nn.Linear(width, out_channels)
        xavier_linears(self)

    def forward(self, latents: Tensor, position: Tensor) -> Tensor:
        """(R, M, C) latents and positions -> (R, M, out_channels)."""
        if len(self.blocks):
            latents = latents + position
        for block in self.blocks:
            latents = block(latents)
        return self.head(self.norm(latents))


@MODELS.register_module()
class LatentProjection(nn.Module):
    """Linear layer and norm between an encoder and a regressor of another width (CAE-L, CAE-S).

    Args:
        in_channels: the encoder's width.
        out_channels: the regressor's and decoder's width.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.linear = nn.Linear(in_channels, out_channels)
        self.norm = nn.LayerNorm(out_channels, eps=1e-6)
        xavier_linears(self)

    def forward(self, latents: Tensor) -> Tensor:
        """(..., in_channels) -> (..., out_channels)."""
        return self.norm(self.linear(latents))


class FixedPositions(nn.Module):
    """The sine-cosine positions of chosen patches; no part of the state.

    Args:
        width: channels.
        order: see :func:`~mmvitssl.models.backbones.position.sincos_table`.
    """

    table: Tensor

    def __init__(self, width: int, order: str) -> None:
        super().__init__()
        self.width, self.order = width, order
        self.grid = (0, 0)
        self.register_buffer("table", torch.zeros(0, width), persistent=False)

    def forward(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """(R, M) patch indices -> (R, M, width)."""
        if grid != self.grid:
            self.grid = grid
            self.table = sincos_table(grid, self.width, self.order)[0, 1:].to(
                self.table.device, non_blocking=True
            )
        return self.table[patches]
