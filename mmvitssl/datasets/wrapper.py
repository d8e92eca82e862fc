"""What data sets that hold another one have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from mmvitssl.datasets.sampler import SampleKey
from mmvitssl.registry import DATASETS

DRAWINGS = 16  # a flip with probability one half is missed once in 2 ** 15


class DatasetWrapper(Dataset):
    """A data set over another one, whose images, labels and classes it has.

    Args:
        dataset: the data set inside, or its config.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.paths = self.dataset.paths

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def labels(self) -> Any:
        """(N,) of the data set inside."""
        return self.dataset.labels

    @property
    def classes(self) -> Any:
        """Names of the classes of the data set inside."""
        return self.dataset.classes

    def use_classes(self, classes: Sequence[str]) -> None:
        """See :meth:`mmvitssl.datasets.images.ImageFiles.use_classes`."""
        self.dataset.use_classes(classes)

    @property
    def metainfo(self) -> dict[str, Any]:
        return self.dataset.metainfo

    def check_fixed(self) -> None:
        """Draw one image of the data set inside several times.

        Raises:
            ValueError: it is not the same every time.
        """
        first, *others = (self.dataset[SampleKey(0, epoch)]["views"] for epoch in range(DRAWINGS))
        if any(
            not torch.equal(a, b) for views in others for a, b in zip(first, views, strict=True)
        ):
            raise ValueError(
                f"{type(self).__name__}.dataset augments its images at random, so that they cannot "
                f"be kept: use Resize and CenterCrop alone."
            )
