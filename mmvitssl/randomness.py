"""Seeds of what is drawn in a step, and for library code that draws from global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from mmvitssl.distributed import rank


def seed_of(*numbers: int) -> int:
    """A seed below 2**63 that is a function of integers, of which none is negative."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def batch_seed(seed: int, samples: Mapping[str, Any], name: str = "") -> int:
    """The seed of what is drawn for a batch: the same after a resume and with other workers.

    Args:
        seed: of the model.
        samples: of the batch; ``epoch`` and ``index``, (B,) integers each, are read.
        name: of what draws; others draw other numbers.

    Returns:
        A function of the arguments and the process's rank.
    """
    keys = [np.asarray(samples[key]).ravel()[:4] for key in ("epoch", "index")]
    numbers = (int(value) for part in keys for value in part)
    return seed_of(seed, rank(), *numbers, *name.encode())


def seed_step(seed: int, number: int, iteration: int) -> None:
    """Seed Python's, numpy's and torch's global generators for an iteration of a rank."""
    drawn = seed_of(seed, number, iteration)
    random.seed(drawn)
    np.random.seed(drawn % 2**32)
    torch.manual_seed(drawn)


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
    devices = [device] if device.type == "cuda" and torch.cuda.is_available() else []
    with seeded(seed), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
