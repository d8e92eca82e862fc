"""Uniform random masking."""

from __future__ import annotations

import torch

from mmvitssl.models.masking.base import check_mode, check_ratio, plan_of, random_subset
from mmvitssl.randomness import Draws
from mmvitssl.registry import MODELS
from mmvitssl.structures import TokenPlan


@MODELS.register_module()
class RandomMasking:
    """Mask a fixed number of patches, or of squares of patches, of every image.

    Args:
        ratio: masked share; ``int(n * (1 - ratio))`` of n stay (MAE: 49 of 196 at .75; SimMIM: 19
            of 49 squares at .6).
        mode: 'drop' (MAE: masked patches do not enter) or 'replace' (SimMIM: the mask token).
        unit: side in patches of the squares that are masked together (SimMIM: 2). Where it does not
            divide the grid, the squares at the lower and right border are cut ('replace' alone).
        mask_at: block before which mask tokens join, with 'replace'.

    Raises:
        ValueError: an option out of range, or a grid that cannot be masked so.
    """

    def __init__(
        self, ratio: float = 0.75, mode: str = "drop", unit: int = 1, mask_at: int = 0
    ) -> None:
        check_ratio(self, ratio)
        check_mode(self, mode)
        if unit < 1 or mask_at < 0 or (mask_at and mode == "drop"):
            raise ValueError(
                f"RandomMasking needs unit >= 1 and mask_at >= 0, and mask_at needs "
                f"mode='replace'; got unit={unit}, mask_at={mask_at}, mode='{mode}'."
            )
        self.ratio, self._mode, self.unit, self.mask_at = ratio, mode, unit, mask_at

    def __call__(self, grid: tuple[int, int], batch: int, generator: Draws) -> TokenPlan:
        """See :class:`~mmvitssl.models.masking.base.Masking`."""
        rows, columns = (-(-side // self.unit) for side in grid)
        cut = (rows * self.unit, columns * self.unit) != tuple(grid)
        if cut and (self._mode == "drop" or self.mask_at):
            raise ValueError(
                f"RandomMasking.unit={self.unit} does not divide the grid {grid}, and with "
                f"mode='drop' or mask_at every image must keep as many patches: set unit=1."
            )
        keep = int(rows * columns * (1 - self.ratio))
        if not 0 < keep < rows * columns:
            raise ValueError(
                f"RandomMasking.ratio={self.ratio} leaves {keep} of {rows * columns} on a grid of "
                f"{grid}: at least one must stay and one be masked."
            )
        visible, _ = random_subset(batch, rows * columns, keep, generator)
        masked = torch.ones(batch, rows * columns, dtype=torch.bool).scatter_(1, visible, False)
        masked = masked.view(batch, rows, 1, columns, 1)
        masked = masked.expand(-1, -1, self.unit, -1, self.unit)
        masked = masked.reshape(batch, rows * self.unit, -1)[:, : grid[0], : grid[1]].flatten(1)
        return plan_of(masked, self._mode, self.mask_at)
