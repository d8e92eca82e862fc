"""Tokens before the first block: which patches enter, their positions, and prefix tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import PatchEmbed
from torch import Tensor, nn

from mmvitssl.models.backbones.contract import BackboneSpec, HasSpec, Size
from mmvitssl.models.backbones.position import SINCOS_AXES, resized_table, sincos_table
from mmvitssl.structures import TokenPlan


def check_channels(encoder: HasSpec, images: Tensor) -> None:
    """Raise ValueError unless images have the encoder's number of channels."""
    channels = encoder.spec.in_channels
    if images.shape[1] != channels:
        raise ValueError(
            f"{type(encoder).__name__} reads images of {channels} channels and got "
            f"{images.shape[1]}: set its in_channels, LoadImage.channels and the number of means "
            f"and deviations of ViewPreprocessor alike."
        )


def _rows(plan: TokenPlan, batch: int, device: torch.device) -> Tensor:
    """(R, 1) the image of each row."""
    rows = plan.image_index
    if rows is None:
        rows = torch.arange(batch, device=device)
    return rows[:, None]


def embed_chosen(images: Tensor, plan: TokenPlan, grid: Size, projection: nn.Conv2d) -> Tensor:
    """Project the patches of a plan only: (B, channels, H, W) -> (R, K, C)."""
    size, (batch, channels) = projection.kernel_size[0], images.shape[:2]
    patches = images.reshape(batch, channels, grid[0], size, grid[1], size)
    patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, grid[0] * grid[1], -1)
    assert plan.tokens is not None
    chosen = patches[_rows(plan, batch, images.device), plan.tokens]
    return F.linear(chosen, projection.weight.flatten(1), projection.bias)


def hide(
    position: Tensor, plan: TokenPlan | None, unplaced: Tensor, unknown: Tensor | None
) -> Tensor:
    """Replace the positions of some patches by one vector.

    Args:
        position: (1 or R, K, C) of the entering patches.
        plan: which patches of which image enter; None: all.
        unplaced: (B, N) bool, patches of images whose position is hidden.
        unknown: (1, 1, C) the vector.

    Raises:
        ValueError: the encoder has no such vector.
    """
    if unknown is None:
        raise ValueError("A task hides positions: build the encoder with unknown_position=True.")
    if plan is not None and plan.tokens is not None:
        unplaced = unplaced[_rows(plan, len(unplaced), unplaced.device), plan.tokens]
    return torch.where(unplaced[..., None], unknown, position)


def leave_masked(tokens: Tensor, plan: TokenPlan, prefix: int) -> tuple[Tensor, Tensor]:
    """Take the masked patches out of (R, prefix + K, C) until they join.

    Returns:
        (R, prefix + V, C) prefix and unmasked tokens, and (R, K, C) all patches, which wait.
    """
    patches = tokens[:, prefix:]
    visible = plan.visible_slots()[..., None].expand(-1, -1, patches.shape[-1])
    return torch.cat([tokens[:, :prefix], patches.gather(1, visible)], dim=1), patches


def join_masked(tokens: Tensor, waiting: Tensor, plan: TokenPlan | None, prefix: int) -> Tensor:
    """Put (R, prefix + V, C) back among the patches that waited: (R, prefix + K, C)."""
    assert plan is not None
    slots = plan.visible_slots()[..., None].expand(-1, -1, waiting.shape[-1])
    joined = waiting.to(tokens.dtype).scatter(1, slots, tokens[:, prefix:])
    return torch.cat([tokens[:, :prefix], joined], dim=1)


class PatchTokens(nn.Module):
    """The tokens of a plain Vision Transformer: what stands before its first block.

    The parameters are those of the encoder that inherits it, which builds them.
    """

    embed_dim: int
    patch_size: int
    spec: BackboneSpec
    image_size: Size
    grid: Size
    position: str
    interpolation: str
    interpolate_offset: float
    interpolate_antialias: bool
    patch_embed: PatchEmbed
    cls_token: nn.Parameter | None
    mask_token: nn.Parameter | None
    unknown_position: nn.Parameter | None
    pos_embed: nn.Parameter | None
    prefix_tokens: nn.ParameterDict

    def token(self) -> nn.Parameter:
        """A learned token (1, 1, C), zero until it is initialised."""
        return nn.Parameter(torch.zeros(1, 1, self.embed_dim))

    def position_table(self) -> nn.Parameter | None:
        """The table of the kind ``position``, for ``grid``."""
        if self.position == "none":
            return None
        if self.position in SINCOS_AXES:
            table = sincos_table(self.grid, self.embed_dim, self.position)
            return nn.Parameter(table, requires_grad=False)
        return nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], self.embed_dim))

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches, the class token included."""
        return int(self.cls_token is not None) + len(self.prefix_tokens)

    def grid_of(self, image_size: Size) -> Size:
        """Rows and columns of patches of an image of (height, width) pixels.

        Raises:
            ValueError: the patch does not divide the image.
        """
        height, width = image_size
        if height % self.patch_size or width % self.patch_size:
            fit = [side - side % self.patch_size or self.patch_size for side in (height, width)]
            raise ValueError(
                f"An image of {height}x{width} pixels cannot be cut into patches of "
                f"{self.patch_size}: use a crop size that patch_size divides, such as "
                f"{fit[0]}x{fit[1]}, or another ViT.patch_size."
            )
        return height // self.patch_size, width // self.patch_size

    def grid_of_images(self, images: Tensor) -> Size:
        """:meth:`grid_of` of (B, C, H, W) images."""
        return self.grid_of((images.shape[-2], images.shape[-1]))

    def resized_position(self, grid: Size) -> Tensor:
        """The position table for ``grid``: (1, 1 + N, C), interpolated where the grid differs.

        Without antialiasing, as the official MAE, DINO and BEiT resize, unless asked for.
        """
        assert self.pos_embed is not None
        if grid == self.grid:
            return self.pos_embed
        offset, kind = self.interpolate_offset, self.interpolation
        smooth = self.interpolate_antialias
        return resized_table(self.pos_embed, self.grid, grid, offset, kind, smooth)

    def embed(
        self, images: Tensor, plan: TokenPlan | None = None, unplaced: Tensor | None = None
    ) -> Tensor:
        """Patch tokens with positions, before the first block: (R, K, C).

        Only the patches of the plan are projected, so the cost follows the plan, not the image.
        """
        grid = self.grid_of_images(images)
        check_channels(self, images)
        if plan is None or plan.tokens is None:
            tokens = self.patch_embed(images)
        else:
            tokens = embed_chosen(images, plan, grid, self.patch_embed.proj)
        if plan is not None and plan.masked is not None:
            if self.mask_token is None:
                raise ValueError("This plan masks tokens: build the encoder with mask_token=True.")
            tokens = torch.where(plan.masked[..., None], self.mask_token.to(tokens.dtype), tokens)
        if self.pos_embed is not None:
            position = self.resized_position(grid)[:, 1:]
            chosen = None if plan is None else plan.tokens
            position = position if chosen is None else position[0][chosen]
            if unplaced is not None:
                position = hide(position, plan, unplaced, self.unknown_position)
            tokens = tokens + position
        return tokens

    def with_prefix(self, tokens: Tensor) -> Tensor:
        """Put the class token (with its position) and the named tokens before (R, K, C)."""
        rows, prefix = tokens.shape[0], list(self.prefix_tokens.values())
        if self.cls_token is not None:
            table = self.pos_embed
            prefix.insert(0, self.cls_token if table is None else self.cls_token + table[:, :1])
        return torch.cat([token.expand(rows, -1, -1) for token in prefix] + [tokens], dim=1)

    def pooled(self, tokens: Tensor) -> Tensor:
        """(R, C) the class token, or the mean of the patches."""
        if self.cls_token is not None:
            return tokens[:, 0]
        return tokens[:, self.num_prefix_tokens :].mean(dim=1)
