"""Corruption of blocks of any place and size, as in the first code of SiT (Atito et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MODES = ("grey", "blur", "noise", "other")
LEAST = 0.05  # side of a block, as a share of the image's
MOST = 0.25  # the same, of blocks of noise and of another image
SHARE = 0.3  # of an image: as much noise at most, and as much of another image
DRAWN = 48  # blocks of noise that are drawn; the first that reach the share are taken
REACH = 7  # pixels that a blur reads on either side
CHAIN = 3  # blocks of another image that was given blocks itself, and so on


def _sides(number: tuple[int, int], side: int, most: float, draw: torch.Generator) -> Tensor:
    """(2, B, K) first and last + 1 of K random intervals of a side, cut at its end."""
    least = max(int(LEAST * side), 1)
    greatest = max(int(most * side), least + 1)
    first = torch.randint(max(side - least, 1), number, generator=draw)
    length = torch.randint(least, greatest, number, generator=draw)
    return torch.stack([first, (first + length).clamp(max=side)])


def _inside(sides: Tensor, side: int) -> Tensor:
    """Intervals (2, B, K) -> (B, K, side) bool."""
    places = torch.arange(side, device=sides.device)
    return (places >= sides[0, ..., None]) & (places < sides[1, ..., None])


class _Blocks:
    """K blocks for each of B images: rows and columns (2, B, K), on the device."""

    def __init__(self, images: Tensor, number: int, most: float, draw: torch.Generator) -> None:
        shape, self.size = (len(images), number), (images.shape[-2], images.shape[-1])
        both = torch.stack([_sides(shape, side, most, draw) for side in self.size])
        self.rows, self.columns = both.to(images.device, non_blocking=True)

    def covered(self, kept: Tensor | None = None) -> Tensor:
        """(B, 1, H, W) bool, pixels of the blocks, or of those that are ``kept`` (B, K)."""
        rows, columns = _inside(self.rows, self.size[0]), _inside(self.columns, self.size[1])
        rows = rows if kept is None else rows & kept[..., None]
        return (rows.float().transpose(1, 2) @ columns.float() > 0)[:, None]

    def reaching(self, pixels: Tensor) -> Tensor:
        """(B, K) bool, the first blocks, until the sum of their areas is ``pixels`` (B)."""
        area = (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])
        return area.cumsum(1) - area < pixels[:, None]


def _several(images: Tensor, draw: torch.Generator) -> Tensor:
    """(B, 1, H, W) bool, blocks of a share of the image that is drawn from 0 to SHARE."""
    share = torch.rand(len(images), generator=draw).to(images.device, non_blocking=True)
    blocks = _Blocks(images, DRAWN, MOST, draw)
    return blocks.covered(blocks.reaching(share * SHARE * images.shape[-2] * images.shape[-1]))


def _weights(batch: int, draw: torch.Generator) -> Tensor:
    """(B, 2 REACH + 1) Gaussians: 3 to 15 pixels wide, deviations from 0.1 to 5.1 pixels."""
    reach = torch.randint(3, 2 * REACH + 2, (batch, 1), generator=draw) // 2
    sigma = torch.rand(batch, 1, generator=draw) * 5 + 0.1
    taps = torch.arange(-REACH, REACH + 1)
    weights = torch.exp(-(taps**2) / (2 * sigma**2)) * (taps.abs() <= reach)
    return weights / weights.sum(dim=1, keepdim=True)


def _filter(weights: Tensor, sides: Tensor, side: int) -> Tensor:
    """(B, side, side) matrices that blur inside an interval (2, B, 1), reflected at its ends."""
    first, last = sides[0], sides[1] - 1
    places = torch.arange(side, device=weights.device)[None].clamp(first, last)
    taps = torch.arange(-REACH, REACH + 1, device=weights.device)
    source = places[..., None] + taps
    for _ in range(REACH):  # once, unless the interval is shorter than the reach
        source = (2 * first[..., None] - source).where(source < first[..., None], source)
        source = (2 * last[..., None] - source).where(source > last[..., None], source)
    source = source.clamp(first[..., None], last[..., None])
    matrix = weights.new_zeros(len(weights), side, side)
    return matrix.scatter_add_(2, source, weights[:, None].expand_as(source))


def _blur(images: Tensor, draw: torch.Generator) -> Tensor:
    weights = _weights(len(images), draw).to(images)
    block = _Blocks(images, 1, 1.0, draw)
    down = _filter(weights, block.rows, images.shape[-2])[:, None]
    across = _filter(weights, block.columns, images.shape[-1])[:, None]
    return (down @ images @ across.transpose(-1, -2)).where(block.covered(), images)


def _others(images: Tensor, clean: Tensor, draw: torch.Generator) -> Tensor:
    """Blocks of another image at the same place; images before it are corrupted already."""
    number = len(images)
    donor = torch.randint(number, (number,), generator=draw).to(images.device, non_blocking=True)
    order = torch.arange(number, device=images.device)
    covered = _several(images, draw) & (donor != order)[:, None, None, None]
    earlier, out = (donor < order)[:, None, None, None], images
    for _ in range(CHAIN):
        out = out[donor].where(earlier, clean[donor]).where(covered, images)
    return out


def distort(
    images: Tensor, modes: Sequence[str], draw: torch.Generator, noise: torch.Generator
) -> Tensor:
    """Corrupt blocks of each image, one mode after another.

    'grey' and 'blur' alter one block each, of 5 % of the image's side up to all of it. 'noise' and
    'other' (another image of the batch) alter blocks of 5 to 25 % of the side, until their areas
    sum up to a share of the image that is drawn from 0 to 30 %.

    Args:
        images: (B, C, H, W) float, normalised.
        modes: of MODES, in their order.
        draw: generator of places, sizes and widths, on the CPU.
        noise: generator on the device of the images.

    Returns:
        (B, C, H, W) float, a new tensor.
    """
    out = images
    for mode in modes:
        if mode == "grey":
            inside = _Blocks(images, 1, 1.0, draw).covered()
            out = out.mean(dim=1, keepdim=True).expand_as(out).where(inside, out)
        elif mode == "blur":
            out = _blur(out, draw)
        elif mode == "noise":
            drawn = torch.randn(out.shape, generator=noise, device=out.device, dtype=out.dtype)
            out = drawn.where(_several(images, draw), out)
        else:
            out = _others(out, images, draw)
    return out
