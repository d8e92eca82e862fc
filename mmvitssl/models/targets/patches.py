"""Cutting images into patches and putting patches back."""

from __future__ import annotations

import torch
from torch import Tensor

from mmvitssl.structures import MaskedPatches


def grid_view(images: Tensor, patch_size: int) -> Tensor:
    """View (B, C, H, W) as patches (B, h, w, P, P, C), in the same memory.

    Raises:
        ValueError: the patch does not divide the image.
    """
    batch, channels, height, width = images.shape
    if height % patch_size or width % patch_size:
        raise ValueError(f"Patches of {patch_size} do not divide an image of {height}x{width}.")
    cells = images.view(
        batch, channels, height // patch_size, patch_size, width // patch_size, patch_size
    )
    return cells.permute(0, 2, 4, 3, 5, 1)


def take_patches(images: Tensor, patch_size: int, masked: MaskedPatches) -> Tensor:
    """Return the masked patches: (T, P * P * C), row, column, channel (MAE's order).

    Only these are read, so that the cost does not grow with the image.
    """
    cells = grid_view(images, patch_size)
    columns = cells.shape[2]
    chosen = cells[masked.image, masked.patch // columns, masked.patch % columns]
    return chosen.flatten(1)


def put_patches(images: Tensor, patches: Tensor, patch_size: int, masked: MaskedPatches) -> Tensor:
    """Copy images, with the patches (T, P * P * C) in their places; later ones win."""
    images = images.clone(memory_format=torch.contiguous_format)
    cells = grid_view(images, patch_size)
    columns = cells.shape[2]
    patches = patches.view(-1, patch_size, patch_size, images.shape[1]).to(images.dtype)
    cells[masked.image, masked.patch // columns, masked.patch % columns] = patches
    return images
