"""Predictions of latents."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import init

from mmvitssl.models.backbones.blocks import Block
from mmvitssl.models.necks.context import FixedPositions
from mmvitssl.models.sizes import build_part
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded, MaskedPatches


@MODELS.register_module()
class PatchProjector(nn.Module):
    """Logits over prototypes of the masked patches that went through the encoder (iBOT).

    Args:
        projector: config of :class:`PrototypeMLP`, a head of its own (DINOv2's separate heads); or
            the name of another task whose projector serves patches too (shared heads).
        in_channels: the encoder's width, for a head of its own.
    """

    def __init__(self, projector: dict[str, Any] | str, in_channels: int | None = None) -> None:
        super().__init__()
        self.shared = projector if isinstance(projector, str) else None
        self.projector = None
        if not isinstance(projector, str):
            name = "PatchProjector.projector"
            self.projector = build_part(projector, name, in_channels=in_channels)
        self._borrowed: tuple[nn.Module, ...] = ()  # a tuple hides it from the state

    def borrow(self, projector: nn.Module) -> None:
        """Use the projector of another task."""
        self._borrowed = (projector,)

    @property
    def used(self) -> Any:
        """The projector, its own or the borrowed one."""
        return self._borrowed[0] if self.projector is None else self.projector

    @property
    def out_channels(self) -> int:
        return self.used.patch_channels

    def forward(self, encoded: Encoded, masked: MaskedPatches) -> Tensor:
        """(T, K), an entry per masked patch.

        Raises:
            ValueError: masked patches did not go through the encoder.
        """
        if masked.slot is None:
            raise ValueError(
                "PatchProjector reads masked tokens, which this masking drops: use a masking that "
                "replaces them."
            )
        return self.used.patches(encoded.patches.flatten(0, 1)[masked.slot])


@MODELS.register_module()
class BlockPredictor(nn.Module):
    """Narrow transformer from context patches to the latents of target blocks (I-JEPA).

    Each target block is predicted apart from the others: context and mask tokens with positions
    attend to each other.

    Args:
        in_channels: the encoder's width.
        out_channels: width of the latents; None: the encoder's.
        width: channels of the predictor.
        depth: its blocks.
        num_heads: their heads; the official code has the encoder's.
        mlp_ratio: hidden width of the MLP over ``width``.
        order: see :func:`~mmvitssl.models.backbones.position.sincos_table`.
    """

    def __init__(
        self,
        in_channels: int,
        width: int = 384,
        depth: int = 6,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        order: str = "sincos_column_first",
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(in_channels, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = FixedPositions(width, order)
        self.blocks = nn.ModuleList(Block(width, num_heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pred = nn.Linear(width, out_channels or in_channels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                init.trunc_normal_(module.weight, std=0.02)
                init.zeros_(module.bias)
        init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, encoded: Encoded, masked: MaskedPatches) -> Tensor:
        """(T, out_channels): row, target block, patch.

        Raises:
            ValueError: the plan dropped nothing.
        """
        plan = encoded.plan
        if plan is None or plan.tokens is None or plan.dropped is None:
            raise ValueError("BlockPredictor needs dropped patches: use MultiBlockMasking.")
        context = self.embed(encoded.patches)
        context = context + self.positions(plan.tokens, encoded.grid).to(context.dtype)
        queries = self.positions(plan.dropped, encoded.grid) + self.mask_token
        queries = queries.to(context.dtype).unflatten(1, (plan.blocks, -1)).flatten(0, 1)
        tokens = torch.cat([context.repeat_interleave(plan.blocks, dim=0), queries], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.pred(self.norm(tokens[:, -queries.shape[1] :])).flatten(0, 1)
