"""Seeds for library code that draws from the global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's and numpy's global generators inside, and put their states back after.

    Args:
        seed: not negative.
    """
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def all_seeded(seed: int, device: torch.device) -> Iterator[None]:
    """As :func:`seeded`, and torch's global generators of the CPU and of ``device``."""
    devices = [device] if device.type == "cuda" else []
    with seeded(seed), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
