"""Features in place of images, where no augmentation makes each reading another one."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mmvitssl.datasets.sampler import SampleKey
from mmvitssl.datasets.wrapper import DatasetWrapper
from mmvitssl.registry import DATASETS


@DATASETS.register_module()
class CachedFeatures(DatasetWrapper):
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
        super().__init__(dataset)
        self.file = file
        self.values: Tensor | None = None

    def __getitem__(self, key: SampleKey | int) -> dict[str, Any]:
        """``features`` (C,) or (L, C) and ``sample``, once they are there."""
        if self.values is None:
            return self.dataset[key]
        key = key if isinstance(key, SampleKey) else SampleKey(int(key))
        sample = {"index": key.index, "epoch": key.epoch, "path": self.paths[key.index]}
        if self.labels is not None:
            sample["label"] = int(self.labels[key.index])
        return {"features": self.values[key.index], "sample": sample}
