"""Swin Transformer (Liu et al., 2021), at any image size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import resize_rel_pos_bias_table_simple, to_2tuple
from timm.models.swin_transformer import PatchMerging
from torch import Tensor, nn
from torch.nn import init

from mmvitssl.arguments import check_choice, check_drop_path
from mmvitssl.models.backbones.adapt import adapt_channels
from mmvitssl.models.backbones.architectures import input_channels
from mmvitssl.models.backbones.blocks import run
from mmvitssl.models.backbones.contract import (
    BackboneModule,
    BackboneSpec,
    check_levels,
    pop_norm,
)
from mmvitssl.models.backbones.patch_tokens import check_channels
from mmvitssl.models.backbones.swin_blocks import SwinBlock
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded, TokenPlan

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny": dict(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    "small": dict(embed_dim=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)),
    "base": dict(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
}


def swin_architecture(arch: str | Mapping[str, Any]) -> dict[str, Any]:
    """``embed_dim``, ``depths`` and ``num_heads`` of a named or described architecture."""
    if isinstance(arch, str):
        check_choice("SwinTransformer.arch", arch, ARCHITECTURES)
        return dict(ARCHITECTURES[arch])
    settings = dict(arch)
    base = settings.pop("base", None)
    settings = {**(swin_architecture(base) if base else {}), **settings}
    wrong = set(settings) ^ {"embed_dim", "depths", "num_heads"}
    if wrong or len(settings["depths"]) != len(settings["num_heads"]):
        raise ValueError(
            f"SwinTransformer.arch needs embed_dim, and depths and num_heads of one length (or "
            f"base=... and what differs); missing or unknown: {sorted(wrong)}."
        )
    return settings


class PatchEmbedding(nn.Module):
    """Strided convolution and norm; pads right and below where the patch does not divide."""

    def __init__(self, patch_size: int, embed_dim: int, in_channels: int = 3) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, embed_dim, patch_size, patch_size)
        self.norm: nn.Module = nn.LayerNorm(embed_dim)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, h, w, C)."""
        bottom, right = (-side % self.patch_size for side in images.shape[-2:])
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom))
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


class SwinStage(nn.Module):
    """Patch merging (but for the first stage) and blocks, every other one with shifted windows."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        depth: int,
        num_heads: int,
        window_size: int,
        mlp_ratio: float,
        rates: Sequence[float],
    ) -> None:
        super().__init__()
        self.downsample = PatchMerging(inputs, channels) if inputs != channels else nn.Identity()
        self.blocks = nn.ModuleList(
            SwinBlock(channels, num_heads, window_size, bool(i % 2), mlp_ratio, rates[i])
            for i in range(depth)
        )


@MODELS.register_module()
class SwinTransformer(BackboneModule):
    """Hierarchical encoder with shifted windows, with timm's parameter names.

    Features of a stage are taken after its last block, before the next stage merges patches.
    Windows follow the official detection code: maps are padded to whole windows first and shifted
    then; on an axis on which the map is no larger than a window it is not shifted, as at 224
    pixels in classification.

    Args:
        arch: 'tiny', 'small', 'base', or a dict with ``embed_dim``, ``depths`` and ``num_heads``.
        image_size: side, or (height, width), in pixels, of the images that are meant.
        patch_size: side of a patch in pixels.
        window_size: side of a window in patches.
        mlp_ratio: hidden width of the MLPs over the channels.
        drop_path: stochastic depth rate of the last block, growing linearly from 0.
        mask_token: whether there is a learned token for the masked patches of a plan (SimMIM).
        freeze_patch_embed: keep the random patch projection fixed.
        gradient_checkpointing: recompute blocks in the backward pass to save memory.
        in_channels: channels of the images. Checkpoints for three adapt to others: see
            :func:`~mmvitssl.models.backbones.adapt.adapt_channels`.
        in_chans: timm's name for ``in_channels``.
    """

    # not used by the maps, and SimMIM's token for masked patches, which has no place here
    optional_state: tuple[str, ...] = ("norm.", "mask_token")

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "tiny",
        image_size: int | tuple[int, int] = 224,
        patch_size: int = 4,
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        mask_token: bool = False,
        freeze_patch_embed: bool = False,
        gradient_checkpointing: bool = False,
        in_channels: int = 3,
        in_chans: int | None = None,
    ) -> None:
        super().__init__()
        check_drop_path("SwinTransformer.drop_path", drop_path)
        settings = swin_architecture(arch)
        self.depths: tuple[int, ...] = tuple(settings["depths"])
        self.depth = len(self.depths)
        self.channels = tuple(settings["embed_dim"] * 2**i for i in range(self.depth))
        self.embed_dim = self.channels[-1]
        self.patch_size, self.window_size = patch_size, window_size
        self.gradient_checkpointing = gradient_checkpointing
        self.in_channels = input_channels("SwinTransformer", in_channels, in_chans)
        self.num_heads: tuple[int, ...] = tuple(settings["num_heads"])
        self.spec = BackboneSpec(
            embed_dim=self.embed_dim,
            depth=self.depth,
            patch_size=self.patch_size,
            image_size=to_2tuple(image_size),
            level_channels=self.channels,
            level_strides=tuple(self.patch_size * 2**i for i in range(self.depth)),
            in_channels=self.in_channels,
            num_heads=self.num_heads,
            can_mask=mask_token,
            has_mask_token=mask_token,
        )
        self.grid = self.spec.grid

        self.mask_token = None
        if mask_token:
            self.mask_token = nn.Parameter(torch.zeros(1, 1, self.channels[0]))
        self.patch_embed = PatchEmbedding(patch_size, self.channels[0], self.in_channels)
        total = sum(self.depths)
        rates = [drop_path * i / max(total - 1, 1) for i in range(total)]
        stages, first = [], 0
        for i, depth in enumerate(self.depths):
            stages.append(
                SwinStage(
                    self.channels[max(i - 1, 0)],
                    self.channels[i],
                    depth,
                    settings["num_heads"][i],
                    window_size,
                    mlp_ratio,
                    rates[first : first + depth],
                )
            )
            first += depth
        self.layers = nn.ModuleList(stages)
        self.norm: nn.Module = nn.LayerNorm(self.embed_dim)
        self._initialise()
        if freeze_patch_embed:
            self.patch_embed.requires_grad_(False)

    def _initialise(self) -> None:
        """The official one: truncated normal of std .02 for linear layers and tables."""
        for name, parameter in self.named_parameters():
            if name.endswith(("relative_position_bias_table", "mask_token")):
                init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    init.zeros_(module.bias)

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """Layer of a parameter for layer-wise learning-rate decay.

        0 is the embedding, then every block is a layer (merging belongs to the first block behind
        it), the final norm the last.
        """
        total = sum(self.depths) + 2
        parts = name.split(".")
        if parts[0] == "patch_embed":
            return 0, total
        if parts[0] == "layers":
            before = sum(self.depths[: int(parts[1])])
            block = int(parts[3]) if parts[2] == "blocks" else 0
            return before + block + 1, total
        return total - 1, total

    def adapt_state(
        self,
        state: dict[str, Tensor],
        grid: tuple[int, int] | None = None,
        relative_grid: tuple[int, int] | None = None,
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Fit bias tables to this model's window, bicubic, as mmdet and the official code do.

        Windows are square, so that ``grid`` and ``relative_grid`` change nothing.
        The patch projection is fitted to the number of channels.
        """
        own, resized = self.state_dict(), {}
        for key, table in state.items():
            if key.endswith("relative_position_bias_table") and key in own:
                mine = own[key]
                if table.shape != mine.shape and table.shape[1] == mine.shape[1]:
                    window = (self.window_size, self.window_size)
                    size = (mine.shape[0], mine.shape[1])
                    resized[key] = resize_rel_pos_bias_table_simple(table, window, size)
        note = f"{len(resized)} bias tables to windows of {self.window_size} (bicubic)"
        state, channels = adapt_channels({**state, **resized}, self.in_channels)
        return state, [*([note] if resized else []), *channels]

    def forward_levels(self, images: Tensor, levels: Sequence[int]) -> dict[int, Tensor]:
        """(B, C_i, h_i, w_i) of some stages only; later stages and the norm do not run."""
        levels = check_levels(self, levels)
        return self._stages(images, levels, max(levels) + 1)[1]

    def _stages(
        self, images: Tensor, levels: Sequence[int], stop: int, masked: Tensor | None = None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        check_channels(self, images)
        x = self.patch_embed(images)
        if masked is not None:
            x = self._hide(x, masked)
        hierarchy = {}
        for index in range(stop):
            stage: Any = self.layers[index]
            x = stage.downsample(x)
            for block in stage.blocks:
                x = run(block, self.gradient_checkpointing and self.training, x)
            if index in levels:
                hierarchy[index] = x.permute(0, 3, 1, 2)  # channels-last strides
        return x, hierarchy

    def _hide(self, x: Tensor, masked: Tensor) -> Tensor:
        """The mask token in all patches (B, h, w, C) of the masked cells (B, cells)."""
        if self.mask_token is None:
            raise ValueError("This plan masks tokens: build the encoder with mask_token=True.")
        side = 2 ** (self.depth - 1)  # patches of the first stage in a cell of the last one
        cells = masked.view(len(x), -(-x.shape[1] // side), -1)
        cells = cells.repeat_interleave(side, 1).repeat_interleave(side, 2)
        cells = cells[:, : x.shape[1], : x.shape[2], None]
        return torch.where(cells, self.mask_token.to(x.dtype), x)

    def forward(
        self,
        images: Tensor,
        plan: TokenPlan | None = None,
        levels: Sequence[int] = (),
        *,
        norm_levels: bool = False,
    ) -> Encoded:
        """Encode images.

        Args:
            images: (B, in_channels, H, W), normalised, of any size.
            plan: cells of the last stage, 32 pixels with patches of 4, whose patches get the mask
                token (SimMIM); windows need all patches, so that none may be left out.
            levels: zero-based stages whose maps are wanted.
            norm_levels: whether the last stage among these has the final norm; the others, whose
                widths differ, are raw in any case.

        Returns:
            class tokens are the means of the patches.

        Raises:
            ValueError: a plan that leaves patches out, or a stage that does not exist.
        """
        if plan is not None and (plan.tokens is not None or plan.mask_at or plan.masked is None):
            raise ValueError(
                "SwinTransformer takes no plan that leaves patches out: its windows need all "
                "patches. Use RandomMasking(mode='replace') as SimMIM does, or a ViT."
            )
        levels = check_levels(self, levels)
        masked = None if plan is None else plan.masked
        x, hierarchy = self._stages(images, levels, self.depth, masked)
        normed = self.norm(x)
        if norm_levels and self.depth - 1 in hierarchy:
            hierarchy[self.depth - 1] = normed.permute(0, 3, 1, 2)
        patches = normed.flatten(1, 2)
        return Encoded(
            cls=patches.mean(dim=1),
            prefix={},
            patches=patches,
            hierarchy=hierarchy,
            grid=(x.shape[1], x.shape[2]),
            plan=plan,
            level_cls={level: features.mean(dim=(2, 3)) for level, features in hierarchy.items()},
        )

    def unused_after(self, level: int) -> tuple[str, ...]:
        """The final norm and later stages."""
        return ("norm.", *(f"layers.{index}." for index in range(level + 1, self.depth)))

    def take_norm(self) -> nn.LayerNorm:
        """Replace the final norm by an identity, and return it; files may have it still."""
        return pop_norm(self)

    def units(self) -> Sequence[nn.Module]:
        """The blocks of all stages."""
        return tuple(module for module in self.modules() if isinstance(module, SwinBlock))
