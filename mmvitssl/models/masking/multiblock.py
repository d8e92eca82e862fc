"""Context and target blocks of I-JEPA."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmvitssl.randomness import Draws, for_batch, for_rows, integers, uniform
from mmvitssl.registry import MODELS
from mmvitssl.structures import TokenPlan

TRIES = 20  # to place the context block, before it may overlap one target block more
Grid = tuple[int, int]


def block_size(grid: Grid, scale: float, aspect: float) -> Grid:
    """Return height and width of a block of a share of the grid, smaller than the grid."""
    number = int(grid[0] * grid[1] * scale)
    sides = round(math.sqrt(number * aspect)), round(math.sqrt(number / aspect))
    height, width = (max(min(side, most - 1), 1) for side, most in zip(sides, grid, strict=True))
    return height, width


@MODELS.register_module()
class MultiBlockMasking:
    """Draw target blocks, and a large context block without them (I-JEPA, section 3).

    Block sizes are drawn once per iteration, the same in all processes, and places for each image.
    Target blocks may overlap each other. Contexts are cut to the smallest of the process's batch,
    from the end of the raster. As in the official code, one random number sets scale and aspect of
    the targets, and blocks never reach the last row and column.

    Args:
        targets: target blocks per image, each predicted apart from the others.
        target_scale: least and greatest share of the image in a target block.
        target_aspect: least and greatest height / width of target blocks.
        context_scale: least and greatest share in the context block, which is square.
        contexts: context blocks per image, a row each.
        min_keep: a context, and a target block, has more patches than this.
        overlap: whether the context may contain target patches.

    Raises:
        ValueError: an option out of range, or a grid on which blocks cannot be as large.
    """

    mode = "drop"

    def __init__(
        self,
        targets: int = 4,
        target_scale: Sequence[float] = (0.15, 0.2),
        target_aspect: Sequence[float] = (0.75, 1.5),
        context_scale: Sequence[float] = (0.85, 1.0),
        contexts: int = 1,
        min_keep: int = 10,
        overlap: bool = False,
    ) -> None:
        if targets < 1 or contexts < 1 or min_keep < 0:
            raise ValueError(
                f"MultiBlockMasking needs targets >= 1, contexts >= 1 and min_keep >= 0; got "
                f"{targets}, {contexts}, {min_keep}."
            )
        for name, bounds in (("target_scale", target_scale), ("context_scale", context_scale)):
            if not 0 < bounds[0] <= bounds[1] <= 1:
                raise ValueError(f"MultiBlockMasking.{name}={bounds} must ascend within (0, 1].")
        if not 0 < target_aspect[0] <= target_aspect[1]:
            raise ValueError(f"MultiBlockMasking.target_aspect={target_aspect} must ascend from 0.")
        self.targets, self.contexts = targets, contexts
        self.target_scale, self.target_aspect = tuple(target_scale), tuple(target_aspect)
        self.context_scale, self.min_keep, self.overlap = tuple(context_scale), min_keep, overlap

    def draw_sizes(self, grid: Grid, generator: Draws) -> tuple[Grid, Grid]:
        """Sizes of the target blocks and of the context blocks of a batch.

        Raises:
            ValueError: blocks would have ``min_keep`` patches or fewer.
        """
        shares = uniform(for_batch(generator), 1, 2)[0].tolist()
        aspect = self.target_aspect[0] + shares[0] * (self.target_aspect[1] - self.target_aspect[0])
        sizes = []
        for share, scale, shape in zip(
            shares, (self.target_scale, self.context_scale), (aspect, 1.0), strict=True
        ):
            size = block_size(grid, scale[0] + share * (scale[1] - scale[0]), shape)
            if size[0] * size[1] <= self.min_keep:
                raise ValueError(
                    f"MultiBlockMasking.min_keep={self.min_keep}, but a block of this grid of "
                    f"{grid} has {size[0]}x{size[1]} patches: lower min_keep or raise the scales."
                )
            sizes.append(size)
        return sizes[0], sizes[1]

    @staticmethod
    def _place(number: int, size: Grid, grid: Grid, generator: Draws) -> Tensor:
        """(number, h, w) bool, a block each."""
        spans = []
        for extent, side in zip(size, grid, strict=True):
            first = integers(generator, 0, side - extent, number, 1)
            cells = torch.arange(side)
            spans.append((cells >= first) & (cells < first + extent))
        return spans[0][:, :, None] & spans[1][:, None, :]

    def _contexts(self, blocks: Tensor, size: Grid, generator: Draws) -> Tensor:
        """(R, h, w) bool, a context beside the target blocks (R, targets, h, w) of each row."""
        grid, rows = (blocks.shape[2], blocks.shape[3]), len(blocks)
        contexts = torch.zeros(rows, *grid, dtype=torch.bool)
        open_ = torch.ones(rows, dtype=torch.bool)
        for avoided in range(0 if self.overlap else blocks.shape[1], -1, -1):
            for _ in range(TRIES):
                tried = self._place(rows, size, grid, generator)
                tried &= ~blocks[:, :avoided].any(dim=1)
                taken = open_ & (tried.sum(dim=(1, 2)) > self.min_keep)
                contexts |= tried & taken[:, None, None]
                open_ &= ~taken
                if not open_.any():
                    return contexts
        raise AssertionError("a context block that avoids nothing is large enough")

    def __call__(self, grid: tuple[int, int], batch: int, generator: Draws) -> TokenPlan:
        """See :class:`~mmvitssl.models.masking.base.Masking`; R = contexts * batch."""
        target, size = self.draw_sizes(grid, generator)
        blocks = self._place(batch * self.targets, target, grid, generator)
        blocks = blocks.view(batch, self.targets, *grid)
        image_index = torch.arange(batch).repeat(self.contexts)
        own = for_rows(generator, image_index)
        contexts = self._contexts(blocks.repeat(self.contexts, 1, 1, 1), size, own)
        rows = [context.nonzero()[:, 0] for context in contexts.flatten(1)]
        keep = min(len(row) for row in rows)
        dropped = blocks.flatten(2).nonzero()[:, 2].view(batch, -1)
        return TokenPlan(
            image_index=image_index,
            tokens=torch.stack([row[:keep] for row in rows]),
            dropped=dropped.repeat(self.contexts, 1),
            blocks=self.targets,
        )
