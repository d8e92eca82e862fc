"""Block-wise masking of BEiT, CAE, iBOT and DINOv2."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmvitssl.arguments import check_choice
from mmvitssl.models.masking.base import check_mode, check_ratio, masked_of, plan_of
from mmvitssl.randomness import Draws, integers, uniform
from mmvitssl.registry import MODELS
from mmvitssl.structures import TokenPlan

BEIT = 75 / 196  # what the official code masks, of 14 x 14 patches
ATTEMPTS = 10  # of one block, in all official implementations
LIMIT = 2000  # rounds after which a grid is taken for impossible
SHAPES = ("block", "random")


class Rectangles:
    """Cover parts of grids with random rectangles (BEiT, algorithm 1).

    Areas are uniform between ``least`` and what is still to be masked, aspects log-uniform; a
    rectangle that covers nothing new or too much is drawn again. All images are drawn together.

    Args:
        least: least area of a rectangle, in patches.
        most: greatest area; None: what is still to be masked.
        min_aspect: least height / width; the greatest is its inverse.
    """

    def __init__(self, least: float, most: float | None = None, min_aspect: float = 0.3) -> None:
        self.least, self.most = least, math.inf if most is None else most
        self.log_aspect = -math.log(min_aspect)

    def draw_sizes(self, remaining: Tensor, generator: Draws) -> tuple[Tensor, Tensor]:
        """Heights and widths (B,) of one rectangle per image, ``remaining`` (B,) patches to go."""
        cap = remaining.clamp(max=self.most).float()
        share, turn = uniform(generator, len(remaining), 2).unbind(1)
        area = self.least + (cap - self.least) * share
        aspect = torch.exp((2 * turn - 1) * self.log_aspect)
        return (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()

    def _place(
        self, height: Tensor, width: Tensor, grid: tuple[int, int], generator: Draws
    ) -> Tensor:
        """(B, h, w) bool; a size that does not fit strictly gives an empty one."""
        fits = (height < grid[0]) & (width < grid[1])
        place = uniform(generator, len(height), 2).unbind(1)
        spans = []
        for size, side, share in zip((height, width), grid, place, strict=True):
            first = (share * (side - size + 1)).long()
            cells = torch.arange(side)
            spans.append((cells >= first[:, None]) & (cells < (first + size)[:, None]))
        return spans[0][:, :, None] & spans[1][:, None, :] & fits[:, None, None]

    def cover(
        self, numbers: Tensor, grid: tuple[int, int], generator: Draws, exact: bool
    ) -> Tensor:
        """Masks of at most ``numbers`` patches.

        Args:
            numbers: (B,) patches to mask, whole or not.
            grid: rows and columns.
            generator: the randomness.
            exact: go on until the number is reached; else stop after ten failures in a row.

        Returns:
            (B, N) bool.

        Raises:
            ValueError: the number cannot be reached.
        """
        masked = torch.zeros(len(numbers), *grid, dtype=torch.bool)
        failed = torch.zeros(len(numbers), dtype=torch.long)
        for _ in range(LIMIT):
            remaining = numbers - masked.sum(dim=(1, 2))
            active = remaining > 0 if exact else (remaining > 0) & (failed < ATTEMPTS)
            if not active.any():
                return masked.flatten(1)
            block = self._place(*self.draw_sizes(remaining, generator), grid, generator)
            new = (block & ~masked).sum(dim=(1, 2))
            accepted = active & (new > 0) & (new <= remaining.clamp(max=self.most))
            masked |= block & accepted[:, None, None]
            failed = torch.where(accepted, 0, failed + 1)
        raise ValueError(
            f"BlockMasking cannot mask exactly {int(numbers[0])} of a grid of {grid} with blocks "
            f"of at least {self.least} patches: lower min_block or mask fewer."
        )


@MODELS.register_module()
class BlockMasking:
    """Mask random rectangles until enough patches are covered (BEiT, algorithm 1).

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
        self._mode, self.mask_at = mode, mask_at
        self.rectangles = Rectangles(min_block, max_block, min_aspect)

    def __call__(self, grid: tuple[int, int], batch: int, generator: Draws) -> TokenPlan:
        """See :class:`~mmvitssl.models.masking.base.Masking`."""
        total = grid[0] * grid[1]
        number = self.num_masked or masked_of(self.ratio or 0.0, total)
        if not 0 < number < total:
            raise ValueError(
                f"BlockMasking masks {number} patches (num_masked={self.num_masked}, "
                f"ratio={self.ratio}) of a grid of {grid}: at least one must be masked and one "
                f"stay."
            )
        numbers = torch.full((batch,), number)
        masked = self.rectangles.cover(numbers, grid, generator, self.exact)
        return plan_of(masked, self._mode, self.mask_at)


@MODELS.register_module()
class MixedRatioMasking:
    """Mask each crop by a ratio of its own; some crops stay whole (iBOT).

    A ratio is drawn from the list, and then uniformly within its variance. Published: (0, 0.3)
    with variances (0, 0.2), so that half of the crops are not masked and the others to 10-50 %.

    Args:
        ratios: masked shares, or one.
        variances: half the width of the interval around each, or around the one.
        shape: 'block' (rectangles of at least ``(min(h, w) // 3) ** 2`` patches, never more patches
            than requested) or 'random' (single patches).
        min_aspect: least height / width of rectangles; the greatest is its inverse.

    Raises:
        ValueError: lists of different lengths, a share outside [0, 1), or an unknown shape.
    """

    def __init__(
        self,
        ratios: float | Sequence[float] = (0.0, 0.3),
        variances: float | Sequence[float] = (0.0, 0.2),
        shape: str = "block",
        min_aspect: float = 0.3,
    ) -> None:
        ratios = (ratios,) if isinstance(ratios, int | float) else tuple(ratios)
        variances = (variances,) if isinstance(variances, int | float) else tuple(variances)
        if not ratios or len(ratios) != len(variances):
            raise ValueError(
                f"MixedRatioMasking.ratios={ratios} and variances={variances} must be of one "
                f"length, at least 1."
            )
        for ratio, variance in zip(ratios, variances, strict=True):
            if not 0 <= ratio - variance <= ratio + variance < 1 or variance < 0:
                raise ValueError(
                    f"MixedRatioMasking: the ratio {ratio} with variance {variance} leaves [0, 1)."
                )
        check_choice("MixedRatioMasking.shape", shape, SHAPES)
        self.ratios, self.variances = ratios, variances
        self.shape, self.min_aspect = shape, min_aspect

    def __call__(self, grid: tuple[int, int], batch: int, generator: Draws) -> TokenPlan:
        """See :class:`~mmvitssl.models.masking.base.Masking`."""
        ratios, variances = torch.tensor(self.ratios), torch.tensor(self.variances)
        chosen = integers(generator, 0, len(ratios), batch)
        spread = 2 * uniform(generator, batch) - 1
        ratio = ratios[chosen] + spread * variances[chosen]
        numbers = ratio * grid[0] * grid[1]
        if self.shape == "block":
            least = max((min(grid) // 3) ** 2, 1)
            rectangles = Rectangles(least, min_aspect=self.min_aspect)
            return TokenPlan(masked=rectangles.cover(numbers, grid, generator, exact=False))
        order = uniform(generator, batch, grid[0] * grid[1]).argsort(dim=1)
        return TokenPlan(masked=order.argsort(dim=1) < numbers.long()[:, None])


@MODELS.register_module()
class StratifiedMasking:
    """Mask a fixed share of the crops, with ratios spread evenly over a range (DINOv2).

    Of n masked crops the i-th gets a ratio from the i-th of n equal parts of the range; which crop
    of which view it is, is drawn.

    Args:
        share: of the crops of a process's batch that are masked; ``int(share * crops)``.
        ratio: least and greatest masked share of a masked crop.
        min_block: least area of a rectangle, in patches.
        max_block: greatest area over all patches of a crop.
        min_aspect: least height / width; the greatest is its inverse.

    Raises:
        ValueError: a share or ratio outside its range.
    """

    def __init__(
        self,
        share: float = 0.5,
        ratio: Sequence[float] = (0.1, 0.5),
        min_block: int = 4,
        max_block: float = 0.5,
        min_aspect: float = 0.3,
    ) -> None:
        if not 0 < share <= 1 or not 0 <= ratio[0] <= ratio[1] < 1 or not 0 < max_block <= 1:
            raise ValueError(
                f"StratifiedMasking needs 0 < share <= 1, 0 <= ratio[0] <= ratio[1] < 1 and "
                f"0 < max_block <= 1; got {share}, {ratio}, {max_block}."
            )
        self.share, self.ratio = share, (float(ratio[0]), float(ratio[1]))
        self.min_block, self.max_block, self.min_aspect = min_block, max_block, min_aspect

    def __call__(self, grid: tuple[int, int], batch: int, generator: Draws) -> TokenPlan:
        """See :class:`~mmvitssl.models.masking.base.Masking`; ``batch``: crops of all views."""
        patches, chosen = grid[0] * grid[1], int(batch * self.share)
        bounds = torch.linspace(*self.ratio, chosen + 1)
        score, spread = uniform(generator, batch, 2).unbind(1)
        crops = score.argsort()[:chosen]
        numbers = torch.zeros(batch, dtype=torch.long)
        numbers[crops] = ((bounds[:-1] + bounds.diff() * spread[crops]) * patches).long()
        rectangles = Rectangles(self.min_block, int(patches * self.max_block), self.min_aspect)
        return TokenPlan(masked=rectangles.cover(numbers, grid, generator, exact=False))
