"""Which patches enter, and where they stand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.structures import TokenPlan


def check_channels(encoder: Backbone, images: Tensor) -> None:
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


def embed_chosen(
    images: Tensor, plan: TokenPlan, grid: tuple[int, int], projection: nn.Conv2d
) -> Tensor:
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
