"""From a file to several augmented views, decoding once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmvitssl.datasets.decode import EncodedImage, Reduced
from mmvitssl.datasets.files import MAX_PIXELS
from mmvitssl.datasets.images import compose
from mmvitssl.datasets.sampler import SampleKey
from mmvitssl.datasets.transforms import RandomFlip, RandomResizedCrop
from mmvitssl.datasets.values import check_range
from mmvitssl.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImage:
    """Decode ``path`` into ``image``, turned as its EXIF orientation says.

    Reads the formats of Pillow, TIFFs with any number of bands, and ``.npy`` files of (H, W) or
    (H, W, C). All become 8 bits per channel.

    Args:
        backend: 'pillow' returns PIL images; 'opencv' returns (H, W, C) uint8 arrays, on which the
            transforms are several times as fast and give the same pixels to within rounding. Other
            than 1 or 3 channels are always arrays.
        reduce: decode a JPEG at 1/2, 1/4 or 1/8 of its size where the crops of all views, which
            stay the same, are then still so many times as high and wide as what they become, at
            least 1; None: never. With 1.5, crops of photographs differ little from those of the
            whole image (PSNR at least 37 dB). ``MultiView`` decodes then; views that begin with
            other transforms than ``RandomResizedCrop``, or ``RandomFlip`` before it, need the whole
            image.
        channels: of the images. 3: RGB; grey is repeated and transparent pixels become white. 1:
            grey, the luma of colours. Others: the bands of the files, whose number must agree. The
            encoder's ``in_channels`` and the preprocessor's mean and std have as many.
        value_range: the values in the files that become 0 and 255, such as (0, 4095) for 12 bits
            or (-1000, 1000) for CT; None: 8-bit images stay as they are, and the range of others
            is guessed from each image's own values and logged.
        max_pixels: files of more pixels count as broken (decompression bombs); None: read any.

    Raises:
        ValueError: an unknown backend, ``reduce`` below 1, or with Pillow's, or an impossible
            ``channels``, ``value_range`` or ``max_pixels``.
    """

    def __init__(
        self,
        backend: str = "pillow",
        reduce: float | None = None,
        channels: int = 3,
        value_range: Sequence[float] | None = None,
        max_pixels: int | None = MAX_PIXELS,
    ) -> None:
        if backend not in ("pillow", "opencv"):
            raise ValueError(f"LoadImage.backend='{backend}' is unknown; use 'pillow' or 'opencv'.")
        if reduce is not None and (backend == "pillow" or reduce < 1):
            raise ValueError(
                f"LoadImage.reduce={reduce} must be at least 1, and needs backend='opencv'; got "
                f"backend='{backend}'."
            )
        if channels < 1 or (max_pixels is not None and max_pixels < 1):
            raise ValueError(
                f"LoadImage.channels={channels} and max_pixels={max_pixels} must be 1 or more."
            )
        self.backend = backend
        self.reduce = reduce
        self.channels, self.max_pixels = channels, max_pixels
        self.value_range = check_range("LoadImage", value_range)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Raises BrokenImageError, with the path, if the file cannot be decoded."""
        encoded = EncodedImage(
            results["path"],
            results.pop("file", None),
            self.channels,
            self.value_range,
            self.max_pixels,
        )
        as_pillow = self.backend == "pillow" and self.channels in (1, 3)
        if self.reduce is not None:
            results["image"], results["reduce"] = encoded, self.reduce
        else:
            results["image"] = encoded.pillow() if as_pillow else encoded.decode()
        return results


def view_shrink(
    transforms: Sequence[Any], size: tuple[int, int], rng: np.random.Generator, room: float
) -> int:
    """How far an image may be reduced for a view, whose random numbers are drawn ahead.

    Args:
        transforms: of the view.
        size: width and height.
        rng: a generator of the view's own, spent by this.
        room: how many times as high and wide as its result the crop must stay.
    """
    for transform in transforms:
        if isinstance(transform, RandomResizedCrop):
            return transform.shrink(*size, rng, room)
        if not isinstance(transform, RandomFlip):
            return 1
        transform.draw(rng)
    return 1


def expand_views(owner: str, views: Sequence[dict[str, Any]]) -> tuple[list[list[Any]], list[int]]:
    """The transforms of each view, and the number that its random numbers derive from.

    Args:
        owner: whose argument ``views`` is.
        views: see :class:`MultiView`.

    Raises:
        ValueError: an entry with other keys or without views, or ``same_as`` no earlier view.
    """
    pipelines: list[list[Any]] = []
    seeds: list[int] = []
    for entry in views:
        unknown = set(entry) - {"transforms", "num", "same_as"}
        number, first = entry.get("num", 1), len(pipelines)
        if unknown or "transforms" not in entry or number < 1:
            raise ValueError(
                f"{owner}.views entries have 'transforms', 'num' >= 1 and 'same_as'; got "
                f"{dict(entry)}."
            )
        same_as = entry.get("same_as")
        if same_as is not None and not 0 <= same_as < first:
            raise ValueError(f"{owner}: same_as={same_as} is none of the {first} views before.")
        pipelines += [compose(entry["transforms"])] * number
        seeds += [first + i if same_as is None else same_as for i in range(number)]
    return pipelines, seeds


@TRANSFORMS.register_module()
class MultiView:
    """Make several views of one decoded image.

    Each view has a generator of its own, derived from the sample's key and the view's number, so
    that adding or changing a view leaves the others as they were.

    Args:
        views: dicts with ``transforms`` (configs of transforms with a generator), ``num`` (how
            many views are made so; 1 by default) and ``same_as`` (an earlier view whose random
            numbers are used again: the same flip and crop at another size, as tokenizers need).
            DINO's crops are two entries of num 1 and one of num 8.

    Raises:
        ValueError: an entry with other keys or without views, or ``same_as`` no earlier view.
    """

    def __init__(self, views: Sequence[dict[str, Any]]) -> None:
        self.pipelines, self.seeds = expand_views("MultiView", views)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """``image`` -> ``views``, a list of images."""
        if isinstance(results["image"], EncodedImage):
            results["image"] = self._decode(results["image"], results["key"], results["reduce"])
        results["views"] = []
        for seed, transforms in zip(self.seeds, self.pipelines, strict=True):
            rng = results["key"].generator(seed) if transforms else None
            image = results["image"]
            for transform in transforms:
                image = transform(image, rng)
            results["views"].append(image)
        return results

    def _decode(self, image: EncodedImage, key: SampleKey, reduce: float) -> np.ndarray | Reduced:
        """At the smallest size that serves all views."""
        shrink = max(image.shrinks)
        for seed, transforms in zip(self.seeds, self.pipelines, strict=True):
            if shrink > 1:
                own = view_shrink(transforms, image.size, key.generator(seed), reduce)
                shrink = min(shrink, own)
        return image.decode(shrink)


def to_tensor(image: Image.Image | np.ndarray) -> Tensor:
    """(C, H, W) uint8 of an image."""
    pixels = np.atleast_3d(np.asarray(image))
    tensor = torch.empty(pixels.shape[2], *pixels.shape[:2], dtype=torch.uint8)
    cv2.split(pixels, list(tensor.numpy()))  # straight into the tensor
    return tensor


@TRANSFORMS.register_module()
class PackViews:
    """Views as uint8 tensors, and what is known of the sample.

    Views stay uint8 until they are on the device, where they are normalised: so the view before
    normalisation is there exactly, as the target of reconstruction.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """-> ``{'views': [(C, H, W) uint8], 'sample': {'index', 'epoch', 'seed', 'path'}}``.

        Labelled images have ``label`` beside these.
        """
        sample = {
            "index": results["index"],
            "epoch": results["key"].epoch,
            "seed": results["key"].drawing,
            "path": results["path"],
        }
        if "label" in results:
            sample["label"] = results["label"]
        return {"views": [to_tensor(view) for view in results["views"]], "sample": sample}
