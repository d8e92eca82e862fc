"""Small images that are decoded once and stay on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.device import get_device
from torch import Tensor
from torch.utils.data import get_worker_info

from mmvitssl.datasets.sampler import SampleKey, as_key
from mmvitssl.datasets.wrapper import DatasetWrapper
from mmvitssl.registry import DATASETS


@DATASETS.register_module()
class ResidentImages(DatasetWrapper):
    """Images of one size, decoded once and kept on the device as uint8.

    A batch is gathered on the device: nothing is decoded, no worker is needed, and only the indices
    of the images are uploaded. The pipeline inside makes no random change;
    :class:`~mmvitssl.models.augment.DeviceAugment` makes the views. Keys of samples, their order
    and a resume are those of any data set.

    Args:
        dataset: the data set to keep, or its config; its pipeline makes one view, the whole image:
            ``MultiView(views=[dict(transforms=[])])``. Images of several sizes need ``Resize`` and
            ``CenterCrop`` there.
        num_views: how many views a sample has, all of them the image; as many as ``DeviceAugment``
            makes.
        device: where the images are kept; None: the GPU, where there is one.

    Raises:
        ValueError: images of several sizes, another number of views than one, a random one, or more
            bytes than the GPU has free.
    """

    def __init__(self, dataset: Any, num_views: int = 1, device: str | None = None) -> None:
        super().__init__(dataset)
        self.num_views = num_views
        views = self.dataset[SampleKey(0)]["views"]
        if len(views) != 1 or num_views < 1:
            raise ValueError(
                f"ResidentImages keeps one view, dict(transforms=[]), of which num_views >= 1 are "
                f"made; the pipeline of its data set makes {len(views)}, and num_views={num_views}."
            )
        self.check_fixed()
        place = torch.device(get_device() if device is None else device)
        self._check_room(views[0], place)
        self.images = self._decoded(views[0]).to(place)  # (N, C, H, W)

    def _check_room(self, image: Tensor, place: torch.device) -> None:
        needed = len(self) * image.numel()
        if place.type == "cuda" and needed > (free := torch.cuda.mem_get_info(place)[0]):
            raise ValueError(
                f"ResidentImages: {len(self)} images of {tuple(image.shape)} bytes are "
                f"{needed / 2**30:.1f} GiB, and the GPU has {free / 2**30:.1f} GiB free: read them "
                f"with workers (remove ResidentImages), or keep fewer or smaller ones."
            )

    def _decoded(self, first: Tensor) -> Tensor:
        images = first.new_empty(len(self), *first.shape)
        for index in range(len(self)):
            image = self.dataset[SampleKey(index)]["views"][0]
            if image.shape != first.shape:
                sizes = ["x".join(map(str, shape[1:])) for shape in (first.shape, image.shape)]
                raise ValueError(
                    f"ResidentImages keeps images of one size, but {self.paths[0]} has {sizes[0]} "
                    f"pixels and {self.paths[index]} has {sizes[1]}: add Resize and CenterCrop to "
                    f"the transforms of the data set's MultiView."
                )
            images[index] = image
        return images

    def __getitems__(self, keys: Sequence[SampleKey | int]) -> dict[str, Any]:
        """A whole batch, as :func:`~mmvitssl.datasets.collate_views` returns it.

        Raises:
            ValueError: the loader has workers.
        """
        if get_worker_info() is not None:
            raise ValueError("ResidentImages needs num_workers=0: the images are on the device.")
        drawn = [as_key(key) for key in keys]
        rows = torch.tensor([key.index for key in drawn])
        samples: dict[str, Any] = {
            "index": rows,
            "epoch": torch.tensor([key.epoch for key in drawn]),
            "seed": torch.tensor([key.drawing for key in drawn]),
            "path": [self.paths[key.index] for key in drawn],
        }
        if self.labels is not None:
            samples["label"] = torch.as_tensor(self.labels)[rows]
        images = self.images.index_select(0, rows.to(self.images.device, non_blocking=True))
        return {"views": [images] * self.num_views, "samples": samples}

    def __getitem__(self, key: SampleKey | int) -> dict[str, Any]:
        """One sample of :class:`~mmvitssl.datasets.PackViews`, with its views on the device."""
        batch = self.__getitems__([key])
        sample = {
            name: value[0] if isinstance(value, list) else int(value[0])
            for name, value in batch["samples"].items()
        }
        return {"views": [view[0] for view in batch["views"]], "sample": sample}
