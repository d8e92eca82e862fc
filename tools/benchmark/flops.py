"""Operations of a training step, which torch counts from the shapes of its products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class StepFlops:
    """Operations of a step; a multiplication and an addition are two.

    Attributes:
        total: of the forward and the backward pass.
        recomputed: of what checkpointing runs again, which ``total`` does not hold.
    """

    total: int
    recomputed: int = 0


def count_flops(work: Callable[[], object]) -> int:
    """Operations of everything that a call runs.

    Attention runs as the matrix products that it is: torch's counter sees no kernel of CPUs, and
    counts what kernels recompute. Compiled parts run eagerly.
    """
    with (
        torch.compiler.set_stance("force_eager"),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        work()
    return counter.get_total_flops()
