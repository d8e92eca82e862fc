"""From a file to several augmented views, decoding once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mmvitssl.datasets.images import UNREADABLE, BrokenImageError, compose
from mmvitssl.registry import TRANSFORMS


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I;16", "I;16B", "I", "F"):
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if values.max() > 255 else 255.0
        image = Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(canvas, image)
    return image.convert("RGB")


@TRANSFORMS.register_module()
class LoadImage:
    """Decode ``path`` into ``image``, RGB, turned as its EXIF orientation says.

    Transparent pixels become white; 16-bit images are scaled to 8 bits.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Raises BrokenImageError, with the path, if the file cannot be decoded."""
        path = results["path"]
        try:
            with Image.open(results.pop("file", path)) as image:
                image.load()
                results["image"] = _to_rgb(ImageOps.exif_transpose(image))
        except UNREADABLE as error:
            raise BrokenImageError(
                f"The image {path} cannot be read ({type(error).__name__}: {error})."
            ) from error
        return results


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
        self.pipelines: list[list[Any]] = []
        self.seeds: list[int] = []
        for entry in views:
            unknown = set(entry) - {"transforms", "num", "same_as"}
            number, first = entry.get("num", 1), len(self.pipelines)
            if unknown or "transforms" not in entry or number < 1:
                raise ValueError(
                    f"MultiView.views entries have 'transforms', 'num' >= 1 and 'same_as'; got "
                    f"{dict(entry)}."
                )
            same_as = entry.get("same_as")
            if same_as is not None and not 0 <= same_as < first:
                raise ValueError(
                    f"MultiView: same_as={same_as} is none of the {first} views before."
                )
            self.pipelines += [compose(entry["transforms"])] * number
            self.seeds += [first + i if same_as is None else same_as for i in range(number)]

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """``image`` -> ``views``, a list of PIL images."""
        results["views"] = []
        for seed, transforms in zip(self.seeds, self.pipelines, strict=True):
            rng = results["key"].generator(seed)
            image = results["image"]
            for transform in transforms:
                image = transform(image, rng)
            results["views"].append(image)
        return results


def to_tensor(image: Image.Image) -> Tensor:
    """(3, H, W) uint8 of an RGB image."""
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).contiguous()


@TRANSFORMS.register_module()
class PackViews:
    """Views as uint8 tensors, and what is known of the sample.

    Views stay uint8 until they are on the device, where they are normalised: so the view before
    normalisation is there exactly, as the target of reconstruction.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """-> ``{'views': [(3, H, W) uint8], 'sample': {'index', 'epoch', 'path'}}``."""
        sample = {
            "index": results["index"],
            "epoch": results["key"].epoch,
            "path": results["path"],
        }
        return {"views": [to_tensor(view) for view in results["views"]], "sample": sample}
