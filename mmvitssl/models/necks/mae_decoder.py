"""MAE's decoder: visible tokens and mask tokens together, in a light transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import init

from mmvitssl.models.backbones.blocks import Block
from mmvitssl.models.backbones.initialisation import xavier_linears
from mmvitssl.models.backbones.position import sincos_table
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded, MaskedPatches, TokenPlan


@MODELS.register_module()
class MAEDecoder(nn.Module):
    """Decode all patches from the visible ones (He et al., 2022, section 3).

    Of a row that is a window, it decodes the patches of that window.

    Args:
        in_channels: the encoder's width.
        out_channels: values per patch.
        grid: rows and columns in patches that the position table is kept for, or a square's side;
            others are computed.
        width: channels of the decoder.
        depth: its blocks.
        num_heads: their heads (the official code has 16 for a width of 512).
        order: which half of the table encodes the column; see
            :func:`~mmvitssl.models.backbones.position.sincos_table`.
        mlp_ratio: hidden width of the MLP over ``width``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: int | tuple[int, int],
        width: int = 512,
        depth: int = 8,
        num_heads: int = 16,
        order: str = "sincos_column_first",
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.order = in_channels, out_channels, order
        self.grid = (grid, grid) if isinstance(grid, int) else (grid[0], grid[1])
        self.embed = nn.Linear(in_channels, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        table = sincos_table(self.grid, width, order)
        self.pos_embed = nn.Parameter(table, requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, num_heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pred = nn.Linear(width, out_channels)
        xavier_linears(self)
        init.normal_(self.mask_token, std=0.02)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        if grid == self.grid:
            return self.pos_embed
        return sincos_table(grid, self.mask_token.shape[-1], self.order).to(
            self.mask_token.device, non_blocking=True
        )

    def decode(self, encoded: Encoded, plan: TokenPlan) -> Tensor:
        """(R, K + M, width) of the visible and then of the dropped patches, after the norm.

        Raises:
            ValueError: the plan dropped nothing.
        """
        if plan.tokens is None or plan.dropped is None:
            raise ValueError("MAEDecoder needs dropped patches: set the masking's mode='drop'.")
        cls, visible = self.embed(encoded.cls)[:, None], self.embed(encoded.patches)
        hidden = self.mask_token.to(visible.dtype).expand(*plan.dropped.shape, -1)
        position = self._positions(encoded.grid)[0]
        places = 1 + torch.cat([plan.tokens, plan.dropped], dim=1)
        tokens = torch.cat([visible, hidden], dim=1) + position[places]
        tokens = torch.cat([cls + position[:1], tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens[:, 1:])

    def predict_all(self, encoded: Encoded) -> Tensor:
        """(R, N, out_channels) of all patches of whole images in raster order, visible ones too."""
        plan = encoded.plan
        assert plan is not None and plan.tokens is not None and plan.dropped is not None
        decoded = self.pred(self.decode(encoded, plan))
        order = torch.cat([plan.tokens, plan.dropped], dim=1).argsort(dim=1)
        return decoded.gather(1, order[..., None].expand_as(decoded))

    def forward(self, encoded: Encoded, masked: MaskedPatches) -> Tensor:
        """(T, out_channels), an entry a masked patch."""
        plan = encoded.plan
        if plan is None:
            raise ValueError("MAEDecoder decodes passes with a plan only.")
        decoded = self.decode(encoded, plan)
        return self.pred(decoded[:, encoded.patches.shape[1] :]).flatten(0, 1)
