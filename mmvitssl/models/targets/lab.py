"""CIE Lab on tensors, and the ab bins of Colorful Image Colorization (Zhang et al., 2016)."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from mmvitssl.models.precision import full_precision

# sRGB to XYZ, and the white point D65 of the 2 degree observer
RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
WHITE = (0.95047, 1.0, 1.08883)
AB_SCALE = 110.0  # ab of sRGB lie within about +-110
BIN = 10.0


def rgb_to_lab(pixels: Tensor) -> Tensor:
    """Convert sRGB (..., 3) in [0, 1] to Lab: L in [0, 100], a and b within about +-110."""
    with full_precision(pixels.device):
        return _rgb_to_lab(pixels.float())


def _rgb_to_lab(pixels: Tensor) -> Tensor:
    linear = torch.where(
        pixels > 0.04045, ((pixels + 0.055) / 1.055).clamp(min=0) ** 2.4, pixels / 12.92
    )
    # copies that do not wait for the device
    to_xyz, white = (torch.tensor(v).to(pixels, non_blocking=True) for v in (RGB_TO_XYZ, WHITE))
    xyz = linear @ to_xyz.T / white
    root = torch.where(xyz > 0.008856, xyz.clamp(min=1e-8) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = root.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


@cache
def ab_bins() -> Tensor:
    """Return (Q, 2) centres of the bins of 10 x 10 in ab that colours of sRGB fall into."""
    with torch.device("cpu"):  # values, wherever the model is built
        axis = torch.linspace(0, 1, 52)
        colours = torch.cartesian_prod(axis, axis, axis)
        bins = (rgb_to_lab(colours)[:, 1:] / BIN).round().long()
        return torch.unique(bins, dim=0).float() * BIN


def soft_bins(ab: Tensor, bins: Tensor, nearest: int = 5, sigma: float = 5.0) -> Tensor:
    """Spread colours over their nearest bins, with Gaussian weights.

    Args:
        ab: (T, 2).
        bins: (Q, 2).
        nearest: number of bins per colour.
        sigma: of the weights, in units of ab.

    Returns:
        (T, Q) distributions.
    """
    distance, index = torch.cdist(ab.float(), bins).topk(nearest, dim=1, largest=False)
    weight = torch.exp(-(distance**2) / (2 * sigma**2))
    weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-12)
    return torch.zeros(len(ab), len(bins), device=ab.device).scatter(1, index, weight)
