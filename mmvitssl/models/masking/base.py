"""What maskers share.

Maskers draw on the CPU, whatever the device of the model: the numbers are few, the number of masked
patches is then known without asking a device, and masks are the same on every device.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from mmvitssl.arguments import check_choice
from mmvitssl.randomness import Draws, uniform
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded, TokenPlan

MODES = ("drop", "replace")


class Masking(Protocol):
    """Protocol of maskers: pure functions of their arguments."""

    def __call__(self, grid: tuple[int, int], batch: int, generator: Draws) -> TokenPlan: ...


@runtime_checkable
class FeatureMasking(Protocol):
    """Protocol of maskers that look at features."""

    def plan_from(self, encoded: Encoded, generator: Draws) -> TokenPlan:
        """A plan, on the CPU.

        Args:
            encoded: the unmasked view as the momentum encoder sees it, without gradient.
            generator: the randomness.
        """


@MODELS.register_module()
class GivenMasking:
    """Masker with the same plan each time, for comparisons and pictures.

    Args:
        plan: what every call returns.
    """

    def __init__(self, plan: TokenPlan) -> None:
        self.plan = plan

    def __call__(self, grid: tuple[int, int], batch: int, generator: Draws) -> TokenPlan:
        return self.plan


def check_mode(owner: object, mode: str) -> None:
    """Raise ValueError unless the mode is known."""
    check_choice(f"{type(owner).__name__}.mode", mode, MODES)


def check_ratio(owner: object, ratio: float) -> None:
    """Raise ValueError unless the ratio lies between 0 and 1."""
    if not 0 < ratio < 1:
        raise ValueError(f"{type(owner).__name__}.ratio={ratio} must lie between 0 and 1.")


def masked_of(ratio: float, total: int) -> int:
    """``int(total * ratio)``, where ratios such as 75 / 196 of 196 are not rounded down."""
    return int(total * ratio + 1e-9)


def random_subset(batch: int, size: int, chosen: int, generator: Draws) -> tuple[Tensor, Tensor]:
    """Split ``0 .. size - 1`` at random in each row.

    Returns:
        the ``chosen`` (batch, chosen) and the others (batch, size - chosen), both ascending.
    """
    order = uniform(generator, batch, size).argsort(dim=1)
    return order[:, :chosen].sort(dim=1).values, order[:, chosen:].sort(dim=1).values


def plan_of(masked: Tensor, mode: str, mask_at: int = 0) -> TokenPlan:
    """Make a plan from a mask (B, N) that is True at masked patches.

    Dropping needs as many masked patches in every image; so does ``mask_at`` > 0.
    """
    number = int(masked[0].sum())
    if mode == "replace":
        same = bool((masked.sum(dim=1) == number).all())
        visible = masked.shape[1] - number if same else None
        return TokenPlan(masked=masked, mask_at=mask_at, num_visible=visible)
    order = masked.byte().argsort(dim=1, stable=True)
    visible = masked.shape[1] - number
    return TokenPlan(tokens=order[:, :visible], dropped=order[:, visible:])
