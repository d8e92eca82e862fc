"""Features in place of images, where no augmentation makes each reading another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmvitssl.datasets.sampler import SampleKey
from mmvitssl.registry import DATASETS

DRAWINGS = 16  # a flip with probability one half is missed once in 2 ** 15


@DATASETS.register_module()
class CachedFeatures(Dataset):
    """A data set whose images are encoded once, by ``FeatureCacheHook``, before they are read.

    Until then it gives the samples of the data set inside.

    Args:
        dataset: a labelled data set without augmentation, or its config.
        file: where the features are kept, an ``.npy`` file that the next run takes up if encoder,
            images and pipeline are the same; None: in memory.

    Raises:
        ValueError: another kind of file.
    """

    def __init__(self, dataset: Any, file: str | None = None) -> None:
        if file is not None and not str(file).endswith(".npy"):
            raise ValueError(f"CachedFeatures.file='{file}' must end in .npy.")
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.file = file
        self.values: Tensor | None = None
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
        """Draw one image several times.

        Raises:
            ValueError: it is not the same every time.
        """
        first, *others = (self.dataset[SampleKey(0, epoch)]["views"] for epoch in range(DRAWINGS))
        if any(
            not torch.equal(a, b) for views in others for a, b in zip(first, views, strict=True)
        ):
            raise ValueError(
                "CachedFeatures.dataset augments its images at random, so that their features "
                "cannot be kept: use Resize and CenterCrop alone."
            )

    def __getitem__(self, key: SampleKey | int) -> dict[str, Any]:
        """``features`` (C,) or (L, C) and ``sample``, once they are there."""
        if self.values is None:
            return self.dataset[key]
        key = key if isinstance(key, SampleKey) else SampleKey(int(key))
        sample = {"index": key.index, "epoch": key.epoch, "path": self.paths[key.index]}
        if self.labels is not None:
            sample["label"] = int(self.labels[key.index])
        return {"features": self.values[key.index], "sample": sample}
