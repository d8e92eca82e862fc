"""Block-wise masking of BEiT and CAE."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmvitssl.models.masking.base import check_mode, check_ratio, masked_of, plan_of
from mmvitssl.registry import MODELS
from mmvitssl.structures import TokenPlan

BEIT = 75 / 196  # what the official code masks, of 14 x 14 patches
ATTEMPTS = 10  # of one block, in both official implementations
LIMIT = 2000  # rounds after which a grid is taken for impossible


@MODELS.register_module()
class BlockMasking:
    """Mask random rectangles until enough patches are covered (BEiT, algorithm 1).

    Areas are uniform between ``min_block`` and what is still to be masked, aspects log-uniform; a
    rectangle that covers nothing new or too much is drawn again. All images of a batch are drawn
    together.

    Args:
        num_masked: patches to mask, in place of ``ratio``.
        exact: False (BEiT): stop when ten attempts in a row fail, so that the number varies (mean
            74.5 for 75); True (CAE): go on until it is reached.
        mode: 'replace' or 'drop', which needs ``exact``.
        min_block: least area of a rectangle, in patches.
        max_block: greatest area; None: what is still to be masked.
        min_aspect: least height / width; the greatest is its inverse.
        mask_at: block before which mask tokens join; > 0 needs ``exact``.
        ratio: masked share, ``int(n * ratio)`` of n patches: CAE 0.5; BEiT 75 / 196, the default.

    Raises:
        ValueError: an option out of range, or a grid on which the number cannot be reached.
    """

    def __init__(
        self,
        num_masked: int | None = None,
        exact: bool = False,
        mode: str = "replace",
        min_block: int = 16,
        max_block: int | None = None,
        min_aspect: float = 0.3,
        mask_at: int = 0,
        ratio: float | None = None,
    ) -> None:
        check_mode(self, mode)
        if ratio is not None and num_masked is not None:
            raise ValueError(
                f"BlockMasking.ratio={ratio} and num_masked={num_masked} contradict: leave one out."
            )
        if num_masked is None:
            ratio = BEIT if ratio is None else ratio
            check_ratio(self, ratio)
        if not exact and (mode == "drop" or mask_at):
            raise ValueError(
                "BlockMasking with mode='drop' or mask_at > 0 needs exact=True: every image must "
                "keep as many patches."
            )
        if (num_masked is not None and num_masked < 1) or min_block < 1 or not 0 < min_aspect <= 1:
            raise ValueError(
                f"BlockMasking needs num_masked >= 1, min_block >= 1 and 0 < min_aspect <= 1; got "
                f"{num_masked}, {min_block}, {min_aspect}."
            )
        self.ratio, self.num_masked, self.exact = ratio, num_masked, exact
        self.mode, self.mask_at = mode, mask_at
        self.min_block, self.max_block = min_block, max_block
        self.log_aspect = -math.log(min_aspect)

    def draw_sizes(self, remaining: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Heights and widths (B,) of one rectangle an image, ``remaining`` (B,) patches to go."""
        cap = remaining.clamp(max=self.max_block).float() if self.max_block else remaining.float()
        share, turn = torch.rand(2, len(remaining), generator=generator)
        area = self.min_block + (cap - self.min_block) * share
        aspect = torch.exp((2 * turn - 1) * self.log_aspect)
        return (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()

    def _rectangles(
        self, height: Tensor, width: Tensor, grid: tuple[int, int], generator: torch.Generator
    ) -> Tensor:
        """(B, h, w) bool; a size that does not fit strictly gives an empty one."""
        fits = (height < grid[0]) & (width < grid[1])
        place = torch.rand(2, len(height), generator=generator)
        spans = []
        for size, side, share in zip((height, width), grid, place, strict=True):
            first = (share * (side - size + 1)).long()
            cells = torch.arange(side)
            spans.append((cells >= first[:, None]) & (cells < (first + size)[:, None]))
        return spans[0][:, :, None] & spans[1][:, None, :] & fits[:, None, None]

    def __call__(self, grid: tuple[int, int], batch: int, generator: torch.Generator) -> TokenPlan:
        """See :class:`~mmvitssl.models.masking.base.Masking`."""
        total = grid[0] * grid[1]
        number = self.num_masked or masked_of(self.ratio or 0.0, total)
        if not 0 < number < total:
            raise ValueError(
                f"BlockMasking masks {number} patches (num_masked={self.num_masked}, "
                f"ratio={self.ratio}) of a grid of {grid}: at least one must be masked and one "
                f"stay."
            )
        masked = torch.zeros(batch, *grid, dtype=torch.bool)
        failed = torch.zeros(batch, dtype=torch.long)
        for _ in range(LIMIT):
            remaining = number - masked.sum(dim=(1, 2))
            active = remaining > 0 if self.exact else (remaining > 0) & (failed < ATTEMPTS)
            if not active.any():
                return plan_of(masked.flatten(1), self.mode, self.mask_at)
            sizes = self.draw_sizes(remaining, generator)
            block = self._rectangles(*sizes, grid, generator)
            new = (block & ~masked).sum(dim=(1, 2))
            accepted = active & (new > 0) & (new <= remaining)
            masked |= block & accepted[:, None, None]
            failed = torch.where(accepted, 0, failed + 1)
        raise ValueError(
            f"BlockMasking cannot mask exactly {number} of a grid of {grid} with blocks "
            f"of at least {self.min_block} patches: lower min_block or mask fewer."
        )
