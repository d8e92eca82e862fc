"""Seeds of samples whose data set draws from the global generators, as OpenMMLab's do."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from mmvitssl.datasets.resident import ResidentImages
from mmvitssl.randomness import all_seeded


class SeededIndex(int):
    """Index of a sample, with the seed of what is drawn for it.

    Args:
        index: of the sample.
        seed: see :func:`~mmvitssl.randomness.seed_of`.
    """

    seed: int

    def __new__(cls, index: int, seed: int) -> SeededIndex:
        made = super().__new__(cls, index)
        made.seed = seed
        return made

    def __reduce__(self) -> tuple[type[SeededIndex], tuple[int, int]]:
        return SeededIndex, (int(self), self.seed)


class SeededItems:
    """``__getitems__`` of a data set: each sample draws from generators of its own.

    Args:
        dataset: any that is read by index.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __call__(self, indices: list[Any]) -> list[Any]:
        """The samples of a batch."""
        return [self._item(index) for index in indices]

    def _item(self, index: Any) -> Any:
        if not isinstance(index, SeededIndex):
            return self.dataset[index]
        with all_seeded(index.seed, torch.device("cpu")):
            return self.dataset[int(index)]


def seed_items(loader: DataLoader) -> None:
    """Let a loader's data set draw with the seeds that its indices carry, if they do.

    ``ResidentImages`` makes whole batches and draws nothing.
    """
    dataset: Any = loader.dataset
    seeded = isinstance(getattr(dataset, "__getitems__", None), SeededItems)
    if not seeded and not isinstance(dataset, ResidentImages):
        dataset.__getitems__ = SeededItems(dataset)
