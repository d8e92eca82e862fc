"""Seeds of what is drawn in a step, and for library code that draws from global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

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


# of splitmix64 (Steele, Lea and Flood 2014), as signed numbers
_STEP, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
_CALL = 0x2545F4914F6CDD1D


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right, which torch has not for signed numbers."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mixed(x: Tensor) -> Tensor:
    """The output function of splitmix64, of int64; products wrap around."""
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


class SampleDraws:
    """Random numbers of which each row is a function of its sample's key and the call alone.

    What a sample draws does not depend on the rest of the batch: not on micro-batches, processes or
    ranks. Numbers are counted, not stored (splitmix64), and drawn on the device of the keys.

    Args:
        keys: (R,) int64, one per sample.
        shared: seed of what is drawn once for a batch; see :meth:`for_batch`.
    """

    def __init__(self, keys: Tensor, shared: int = 0) -> None:
        self.keys, self.shared = keys, shared
        self._calls = 0
        self._whole: SampleDraws | None = None

    @classmethod
    def of(
        cls,
        seed: int,
        samples: Mapping[str, Any],
        name: str = "",
        device: str | torch.device = "cpu",
        iteration: int = 0,
    ) -> SampleDraws:
        """Draws for a batch.

        Args:
            seed: of the model.
            samples: of the batch; ``epoch``, ``index`` and, where the loader draws an image
                repeatedly, ``seed`` are read: (B,) integers each.
            name: of what draws; others draw other numbers.
            device: of the numbers.
            iteration: of the training, for what is drawn once for a batch.
        """
        index, epoch, drawing = (
            torch.as_tensor(np.asarray(values).ravel().astype(np.int64))
            for values in (samples["index"], samples["epoch"], samples.get("seed", 0))
        )
        own = seed_of(seed, *name.encode())
        keys = _mixed(_mixed(index + own) + epoch * _STEP)
        keys = torch.where(drawing == 0, keys, _mixed(keys + drawing))
        return cls(keys.to(device, non_blocking=True), seed_of(own, iteration))

    def for_batch(self) -> SampleDraws:
        """One row for all samples of an iteration, the same in all processes."""
        if self._whole is None:
            key = torch.tensor([self.shared], device=self.keys.device)
            self._whole = SampleDraws(key, self.shared)
        return self._whole

    def rows(self, image_index: Tensor) -> SampleDraws:
        """Draws for rows of which several may belong to a sample: each draws its own.

        Args:
            image_index: (R,) long, the sample of each row.
        """
        order = image_index.argsort(stable=True)
        ordered = image_index[order]
        places = torch.arange(len(order), device=order.device)
        number = torch.empty_like(order)  # how many rows of the same sample precede
        number[order] = places - torch.searchsorted(ordered, ordered)
        return SampleDraws(_mixed(self.keys[image_index] + number * _CALL), self.shared)

    def repeated(self, times: int) -> SampleDraws:
        """Draws for rows of all samples, ``times`` times in turn: each row draws its own."""
        if times == 1:
            return self
        numbers = torch.arange(times, device=self.keys.device).repeat_interleave(len(self.keys))
        return SampleDraws(_mixed(self.keys.repeat(times) + numbers * _CALL), self.shared)

    def _bits(self, shape: tuple[int, ...]) -> Tensor:
        """Int64 of any shape; the first axis has R rows, or as many for each sample in turn."""
        rows, total = len(self.keys), int(np.prod(shape))
        if not shape or shape[0] % rows:
            raise ValueError(f"SampleDraws: {rows} samples cannot share draws of shape {shape}.")
        self._calls += 1
        call = (self._calls * _CALL + 2**63) % 2**64 - 2**63  # as int64 wraps around
        places = torch.arange(1, total // rows + 1, device=self.keys.device)
        return _mixed(_mixed(self.keys + call)[:, None] + places * _STEP).view(shape)

    def uniform(self, *shape: int) -> Tensor:
        """Float32 in [0, 1), of 24 bits."""
        return _shifted(self._bits(shape), 40).float() * 2.0**-24

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Int64 from ``low`` to ``high - 1``."""
        return low + _shifted(self._bits(shape), 32) % (high - low)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal float32 (Box and Muller 1958)."""
        radius = (-2 * torch.log1p(-self.uniform(*shape))).sqrt()
        return radius * torch.cos(2 * torch.pi * self.uniform(*shape))


Draws = torch.Generator | SampleDraws


def uniform(draws: Draws, *shape: int) -> Tensor:
    """Float32 in [0, 1) of a generator, or of each sample."""
    if isinstance(draws, SampleDraws):
        return draws.uniform(*shape)
    return torch.rand(shape, generator=draws, device=draws.device)


def integers(draws: Draws, low: int, high: int, *shape: int) -> Tensor:
    """Int64 from ``low`` to ``high - 1`` of a generator, or of each sample."""
    if isinstance(draws, SampleDraws):
        return draws.integers(low, high, *shape)
    return torch.randint(low, high, shape, generator=draws, device=draws.device)


def normal(draws: Draws, *shape: int) -> Tensor:
    """Standard normal float32 of a generator, or of each sample."""
    if isinstance(draws, SampleDraws):
        return draws.normal(*shape)
    return torch.randn(shape, generator=draws, device=draws.device)


def for_batch(draws: Draws) -> Draws:
    """Draws for a whole batch; of samples, the same ones in all processes."""
    return draws.for_batch() if isinstance(draws, SampleDraws) else draws


def for_rows(draws: Draws, image_index: Tensor) -> Draws:
    """Draws for rows (R,) of which several may belong to a sample."""
    return draws.rows(image_index) if isinstance(draws, SampleDraws) else draws
