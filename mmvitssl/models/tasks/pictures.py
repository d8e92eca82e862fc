"""Pictures of masks and of what was predicted for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.models.display import displayed
from mmvitssl.models.targets.patches import put_patches
from mmvitssl.models.targets.tokens import TokenTarget
from mmvitssl.structures import MaskedPatches, TokenPlan

GREY, DIM = 0.5, 0.35
FRAME = (0.95, 0.3, 0.1)


def _inside(plan: TokenPlan, batch: int, grid: tuple[int, int]) -> Tensor:
    """(B, h, w) bool: patches that lie in some window of the image."""
    assert plan.tokens is not None and plan.image_index is not None
    inside = torch.zeros(batch, grid[0] * grid[1], dtype=torch.bool, device=plan.tokens.device)
    for patches in (plan.tokens, *([] if plan.dropped is None else [plan.dropped])):
        inside[plan.image_index[:, None].expand_as(patches), patches] = True
    return inside.view(batch, *grid)


def _draw_frames(picture: Tensor, plan: TokenPlan, grid: tuple[int, int]) -> None:
    """Outline each window, in place."""
    assert plan.tokens is not None and plan.window is not None and plan.image_index is not None
    cell = (picture.shape[2] // grid[0], picture.shape[3] // grid[1])
    line = max(1, picture.shape[2] // 150)
    colour = torch.tensor(FRAME, device=picture.device)[:, None, None]
    every = [plan.tokens] if plan.dropped is None else [plan.tokens, plan.dropped]
    corners = torch.cat(every, dim=1).min(dim=1).values
    for image, first in zip(plan.image_index.tolist(), corners.tolist(), strict=True):
        top, left = first // grid[1] * cell[0], first % grid[1] * cell[1]
        bottom, right = top + plan.window[0] * cell[0], left + plan.window[1] * cell[1]
        for rows, columns in (
            (slice(top, top + line), slice(left, right)),
            (slice(bottom - line, bottom), slice(left, right)),
            (slice(top, bottom), slice(left, left + line)),
            (slice(top, bottom), slice(right - line, right)),
        ):
            picture[image, :, rows, columns] = colour


def frame_windows(picture: Tensor, plan: TokenPlan | None, grid: tuple[int, int]) -> Tensor:
    """Dim what no window covers, and outline the windows; other plans leave pictures as they are.

    Args:
        picture: (B, C, H, W) in [0, 1].
        plan: whose windows to draw.
        grid: patches of the image.

    Returns:
        (B, 3, H, W); see :func:`~mmvitssl.models.display.displayed`.
    """
    picture = displayed(picture)
    if plan is None or plan.window is None:
        return picture
    inside = _inside(plan, len(picture), grid)
    cell = (picture.shape[2] // grid[0], picture.shape[3] // grid[1])
    inside = inside.repeat_interleave(cell[0], 1).repeat_interleave(cell[1], 2)
    picture = torch.where(inside[:, None], picture, picture * DIM)
    _draw_frames(picture, plan, grid)
    return picture


def masked_picture(
    original: Tensor, plan: TokenPlan, masked: MaskedPatches, grid: tuple[int, int]
) -> Tensor:
    """Draw grey in place of masked patches, and outline windows: (B, 3, H, W)."""
    side = original.shape[2] // grid[0]
    grey = original.new_full((len(masked.image), original.shape[1] * side * side), GREY)
    return frame_windows(put_patches(original, grey, side, masked), plan, grid)


def reconstruction_pictures(
    target: Any,
    prediction: Tensor,
    step: PretrainStep,
    view: int,
    masked: MaskedPatches,
    plan: TokenPlan | None,
) -> dict[str, Tensor]:
    """Draw pictures of predictions, by caption.

    Pixels: the original with the predicted patches in their places; where they were normalised,
    with the true mean and deviation of each patch, and the caption says so. Ids: what the
    tokenizer's decoder makes of them beside the true ids of visible patches, and of the true ids
    alone. Other targets have no pictures.
    """
    grid = step.grid_of(view)
    if isinstance(target, TokenTarget):
        truth = target.ids(step)
        guess = truth.flatten(1).clone()
        guess[masked.image, masked.patch] = prediction.argmax(dim=-1)
        tokenizer = target.tokenizer(step.device)
        painted = tokenizer.decode(guess.view_as(truth))
        size = step.view(view).size
        pictures = {"true tokens": tokenizer.decode(truth), "reconstruction": painted}
        resized = {name: _resize(picture, size) for name, picture in pictures.items()}
        return {name: frame_windows(picture, plan, grid) for name, picture in resized.items()}
    if not hasattr(target, "to_pixels"):
        return {}
    pixels = target.to_pixels(prediction, step, view, masked)
    picture = put_patches(step.view(view).pixels, pixels, target.patch_size, masked)
    caption = "reconstruction" + (", true patch statistics" if target.normalise else "")
    return {caption: frame_windows(picture, plan, grid)}


def _resize(picture: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.nn.functional.interpolate(picture, size, mode="bicubic").clamp(0, 1)
