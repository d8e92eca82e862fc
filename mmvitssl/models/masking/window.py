"""Masking inside random windows (LoMaR)."""

from __future__ import annotations

import torch
from torch import Tensor

from mmvitssl.arguments import check_choice
from mmvitssl.models.masking.base import check_mode, check_ratio, masked_of, random_subset
from mmvitssl.randomness import Draws, for_batch, for_rows, integers, uniform
from mmvitssl.registry import MODELS
from mmvitssl.structures import TokenPlan

PAIRINGS = ("per_image", "published")


@MODELS.register_module()
class WindowMasking:
    """Cut windows out of each image, each a row of its own, and mask them (LoMaR, section 3.2).

    Windows are raster crops of the patch grid; the corners of an image's windows are drawn without
    replacement on each axis, as long as the axis has enough places.

    Args:
        window: side of a window, or (height, width), in patches; on a smaller grid the window is
            the grid.
        views: windows per image.
        ratio: masked share of a window; ``int(n * ratio)`` of n patches.
        mask_at: block before which mask tokens join; 0 is the paper, later blocks are its
            suggestion for speed (section 5). With ``mode='replace'`` alone.
        pairing: 'per_image' draws windows for each image; 'published' repeats a slip of the
            official code, which draws ``views`` windows per batch: row r gets image r mod B and
            window r mod views: with B divisible by views an image sees one window several times.
        mode: 'replace' (masked patches get the mask token), or 'drop' (they do not enter: the
            asymmetric encoder and decoder inside windows of the paper's figure 5).

    Raises:
        ValueError: an option out of range, or a window of which none or all would be masked.
    """

    def __init__(
        self,
        window: int | tuple[int, int] = 7,
        views: int = 4,
        ratio: float = 0.8,
        mask_at: int = 0,
        pairing: str = "per_image",
        mode: str = "replace",
    ) -> None:
        check_ratio(self, ratio)
        check_mode(self, mode)
        self.window = (window, window) if isinstance(window, int) else (window[0], window[1])
        if min(self.window) < 1 or views < 1 or mask_at < 0 or (mask_at and mode == "drop"):
            raise ValueError(
                f"WindowMasking needs window >= 1, views >= 1 and mask_at >= 0, and mask_at needs "
                f"mode='replace'; got {window}, {views}, {mask_at}, '{mode}'."
            )
        check_choice("WindowMasking.pairing", pairing, PAIRINGS)
        self.ratio, self.views, self.mask_at, self.pairing = ratio, views, mask_at, pairing
        self._mode = mode
        self._number(self.window)

    def _number(self, window: tuple[int, int]) -> int:
        """Masked patches of a window."""
        size = window[0] * window[1]
        number = masked_of(self.ratio, size)
        if not 0 < number < size:
            raise ValueError(
                f"WindowMasking.ratio={self.ratio} masks {number} of the {size} patches of a "
                f"window: at least one must be masked and one stay."
            )
        return number

    def window_on(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the windows of a grid, which they do not exceed."""
        return min(self.window[0], grid[0]), min(self.window[1], grid[1])

    def _axis(self, places: int, batch: int, generator: Draws) -> Tensor:
        """(batch, views) first rows or columns of windows."""
        if places >= self.views:
            return uniform(generator, batch, places).argsort(dim=1)[:, : self.views]
        return integers(generator, 0, places, batch, self.views)

    def corners(self, grid: tuple[int, int], batch: int, generator: Draws) -> Tensor:
        """(batch, views, 2) upper left patches of the windows."""
        places = [side - size + 1 for side, size in zip(grid, self.window_on(grid), strict=True)]
        return torch.stack([self._axis(place, batch, generator) for place in places], dim=-1)

    def __call__(self, grid: tuple[int, int], batch: int, generator: Draws) -> TokenPlan:
        """See :class:`~mmvitssl.models.masking.base.Masking`; R = batch * views, image by image."""
        rows = batch * self.views
        if self.pairing == "published":
            corners = self.corners(grid, 1, for_batch(generator))[0].repeat(batch, 1)
            image_index = torch.arange(rows) % batch
        else:
            corners = self.corners(grid, batch, generator).flatten(0, 1)
            image_index = torch.arange(batch).repeat_interleave(self.views)
        window = self.window_on(grid)
        number = self._number(window)
        inside = torch.cartesian_prod(*(torch.arange(size) for size in window))
        places = corners[:, None] + inside
        size = len(inside)
        own = for_rows(generator, image_index)
        chosen, others = random_subset(rows, size, number, own)
        patches = places[..., 0] * grid[1] + places[..., 1]
        if self._mode == "drop":
            return TokenPlan(
                image_index=image_index,
                tokens=patches.gather(1, others),
                window=window,
                dropped=patches.gather(1, chosen),
            )
        masked = torch.zeros(rows, size, dtype=torch.bool).scatter_(1, chosen, True)
        return TokenPlan(
            image_index=image_index,
            tokens=patches,
            masked=masked,
            mask_at=self.mask_at,
            window=window,
            num_visible=size - number,
        )
