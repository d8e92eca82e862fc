"""Which samples a process reads, with keys from which a sample's randomness derives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import DataLoader, Sampler

from mmvitssl.randomness import seed_of
from mmvitssl.registry import DATA_SAMPLERS


@dataclass(frozen=True)
class SampleKey:
    """Names one drawing of one sample; the same key always gives the same tensors.

    The key travels with the index to the worker, so that the number of workers, their persistence
    and the point of a resume change nothing.
    """

    index: int
    epoch: int = 0
    seed: int = 0
    repeat: int = 0  # which drawing of this epoch, where a sampler repeats samples

    @property
    def drawing(self) -> int:
        """``seed``, or what takes its place in a later drawing of the epoch."""
        return seed_of(self.seed, self.repeat) if self.repeat else self.seed

    def generator(self, *extra: int) -> np.random.Generator:
        """A generator of its own for this drawing (and for ``extra``, such as a view's number)."""
        entropy = [self.seed, self.epoch, self.index, *extra]
        repeat = (self.repeat,) if self.repeat else ()
        return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=repeat))


def as_key(key: SampleKey | int) -> SampleKey:
    """A sampler's key as it is; for a bare index, a key with a seed of torch's global generator.

    That is what a plain ``DataLoader`` asks with: its samples are augmented anew each time, and are
    repeated by ``torch.manual_seed``, as those of torchvision's data sets.
    """
    if isinstance(key, SampleKey):
        return key
    return SampleKey(int(key), seed=int(torch.randint(2**31, ())))


@DATA_SAMPLERS.register_module()
class EpochSampler(Sampler[SampleKey]):
    """Shuffle per epoch, deal out to processes, and yield :class:`SampleKey`.

    Process r of w takes every w-th index from the r-th, so the processes' batches of B are together
    the batch of w * B that one process would take.

    Args:
        dataset: anything with a length.
        shuffle: whether the order changes with the epoch.
        seed: of order and samples; None: one random seed for all processes.
        round_up: repeat samples so that all processes get as many.
        infinite: go through epoch after epoch, for iteration-based loops.
        repeats: drawings of a sample in an epoch (repeated augmentation, Hoffer et al. 2020; DeiT
            has three). An epoch stays as long, so only one sample in ``repeats`` enters it. The
            drawings follow each other, so that processes, if there are several, share them.
        rank, world_size: of the process; by default from the process group.

    Raises:
        ValueError: fewer than one drawing.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
        infinite: bool = False,
        repeats: int = 1,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if repeats < 1:
            raise ValueError(f"EpochSampler.repeats={repeats} must be at least 1.")
        if seed is not None and seed < 0:
            raise ValueError(f"EpochSampler.seed={seed} must not be negative.")
        current_rank, current_world = get_dist_info()
        self.rank = current_rank if rank is None else rank
        self.world_size = current_world if world_size is None else world_size
        self.size = len(dataset)
        self.shuffle = shuffle
        self.seed: int = sync_random_seed() if seed is None else seed
        self.round_up = round_up
        self.infinite = infinite
        self.repeats = repeats
        self.epoch = 0
        self._done = 0

    def set_epoch(self, epoch: int) -> None:
        """MMEngine's hook calls this before each epoch, after a resume too."""
        self.epoch = epoch

    def skip(self, num_samples: int) -> None:
        """Begin the next pass behind that many samples of this process, over any number of epochs.

        Args:
            num_samples: counted from the first of the epoch that is set.
        """
        self._done = num_samples

    def _order(self, epoch: int) -> list[tuple[int, int]]:
        """Samples of this process, each with the number of its drawing."""
        if not self.shuffle:
            samples = list(range(self.size))
        else:
            generator = torch.Generator().manual_seed(self.seed + epoch)
            samples = torch.randperm(self.size, generator=generator).tolist()
        order = [(index, repeat) for index in samples for repeat in range(self.repeats)]
        order = order[: self.size]
        if self.round_up:
            total = self.world_size * -(-self.size // self.world_size)
            order = (order * -(-total // self.size))[:total]
        return order[self.rank :: self.world_size]

    def __iter__(self) -> Iterator[SampleKey]:
        epochs, done = divmod(self._done, max(len(self), 1))
        epoch, self._done = self.epoch + epochs, 0
        while True:
            for index, repeat in self._order(epoch)[done:]:
                yield SampleKey(index, epoch, self.seed, repeat)
            done = 0
            if not self.infinite:
                return
            epoch += 1

    def __len__(self) -> int:
        if self.round_up:
            return -(-self.size // self.world_size)
        return len(range(self.rank, self.size, self.world_size))


class KeyedSampler(Sampler[SampleKey]):
    """Adds keys to the indices of any sampler, so that samples differ from epoch to epoch.

    Args:
        sampler: yields indices; its ``epoch``, which MMEngine's hook sets, is used if it has one.
        seed: of the samples.
    """

    def __init__(self, sampler: Any, seed: int) -> None:
        self.sampler = sampler
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """MMEngine's hook calls this where the sampler inside has no such method."""
        self.epoch = epoch
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[SampleKey]:
        epoch, drawn = getattr(self.sampler, "epoch", self.epoch), Counter[int]()
        for key in self.sampler:
            if isinstance(key, SampleKey):
                yield key
                continue
            index = int(key)
            # an infinite sampler, or one with replacement, comes to an index again
            yield SampleKey(index, epoch, self.seed, drawn[index])
            drawn[index] += 1

    def __len__(self) -> int:
        return len(self.sampler)


def add_keys(loader: DataLoader, seed: int = 0) -> bool:
    """Let the samples of a built loader depend on the epoch, whatever its sampler.

    Args:
        loader: of a data set that takes :class:`SampleKey`.
        seed: of the samples.

    Returns:
        Whether its sampler was another than :class:`EpochSampler`.
    """
    batches: Any = loader.batch_sampler
    sampler = getattr(batches, "sampler", None)
    if sampler is None or isinstance(sampler, (EpochSampler, KeyedSampler)):
        return False
    batches.sampler = KeyedSampler(sampler, seed)
    return True
