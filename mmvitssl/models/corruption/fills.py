"""What can happen to a patch: pixels (B, n, P, P, C) in [0, 1] -> the same shape."""

from __future__ import annotations

import torch
from torch import Tensor

from mmvitssl.randomness import Draws, integers, normal, uniform

LUMA = (0.299, 0.587, 0.114)
MODES = ("mask", "noise", "other", "blur", "grey")


def grey(pixels: Tensor) -> Tensor:
    """Luma in all three channels; a single channel stays as it is."""
    if pixels.shape[-1] == 1:
        return pixels
    luma = (pixels * torch.tensor(LUMA).to(pixels, non_blocking=True)).sum(dim=-1, keepdim=True)
    return luma.expand_as(pixels)


def masked(pixels: Tensor, mean: Tensor | None) -> Tensor:
    """The mean colour of the data, zero after normalisation."""
    return torch.zeros_like(pixels) if mean is None else mean.expand_as(pixels)


def noise(pixels: Tensor, mean: Tensor | None, std: Tensor | None, generator: Draws) -> Tensor:
    """Normal noise, standard after normalisation."""
    drawn = normal(generator, *pixels.shape)
    drawn = drawn if std is None else drawn * std
    return drawn if mean is None else drawn + mean


def other(pixels: Tensor, generator: Draws) -> Tensor:
    """The patches of another image of the batch, drawn for each; a batch of one keeps its own."""
    batch = len(pixels)
    if batch == 1:
        return pixels
    shift = integers(generator, 1, batch, batch)
    return pixels[(torch.arange(batch, device=pixels.device) + shift) % batch]


def blur(pixels: Tensor, sigma: float | None = None) -> Tensor:
    """Gaussian blur inside each patch, by default with a quarter of its side."""
    side = pixels.shape[2]
    sigma = side / 4 if sigma is None else sigma
    places = torch.arange(side, device=pixels.device, dtype=pixels.dtype)
    kernel = torch.exp(-((places[:, None] - places) ** 2) / (2 * sigma**2))
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    return torch.einsum("rs,bnstc,ut->bnruc", kernel, pixels, kernel)


def crop_and_jitter(pixels: Tensor, least: float, strength: float, generator: Draws) -> Tensor:
    """Cut a random part out of each patch and enlarge it, then change its colour.

    Args:
        pixels: (B, n, P, P, C).
        least: least side of the part, as a share of the patch's; 1 crops nothing.
        strength: of the changes of brightness, contrast and of each channel.
        generator: on the device of the pixels.
    """
    batch, number, side = pixels.shape[:3]
    channels = pixels.shape[-1]
    flat = pixels.flatten(0, 1).permute(0, 3, 1, 2)
    rows = len(flat)

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * uniform(generator, rows, *shape)

    scale = draw(least, 1.0, 1)
    shift = draw(-1.0, 1.0, 2) * (1 - scale)
    theta = torch.zeros(rows, 2, 3, device=pixels.device, dtype=flat.dtype)
    theta[:, 0, 0] = theta[:, 1, 1] = scale[:, 0]
    theta[:, :, 2] = shift
    places = torch.nn.functional.affine_grid(theta, list(flat.shape), align_corners=False)
    flat = torch.nn.functional.grid_sample(flat, places, padding_mode="border", align_corners=False)
    if strength:
        mean = flat.mean(dim=(1, 2, 3), keepdim=True)
        flat = mean + (flat - mean) * draw(1 - strength, 1 + strength, 1, 1, 1)
        flat = flat * draw(1 - strength, 1 + strength, channels, 1, 1)
    out = flat.clamp(0, 1).permute(0, 2, 3, 1)
    return out.reshape(batch, number, side, side, channels)
