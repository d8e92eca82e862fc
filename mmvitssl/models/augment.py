"""Augmentation of whole batches on the device, equal to the transforms of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmvitssl.datasets.arrays import blur_kernel, blur_radius, check_colour
from mmvitssl.datasets.multiview import expand_views
from mmvitssl.datasets.transforms import (
    NEUTRAL,
    ColorJitter,
    GaussianBlur,
    RandomFlip,
    RandomGrayscale,
    RandomResizedCrop,
    Solarize,
)
from mmvitssl.models import device_crop
from mmvitssl.models.precision import full_precision
from mmvitssl.registry import MODELS

SATURATION, HUE = 2, 3  # their places among brightness, contrast, saturation and hue
LUMA = (19595.0, 38470.0, 7471.0)  # Pillow's, of 65536; the sums are exact in float32
STEP = np.uint64(0x9E3779B97F4A7C15)
FACTORS = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64)
SHIFTS = np.array([30, 27, 31, 11], dtype=np.uint64)


def _mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al., 2014): every bit out depends on all bits in."""
    state = (state ^ (state >> SHIFTS[0])) * FACTORS[0]
    state = (state ^ (state >> SHIFTS[1])) * FACTORS[1]
    return state ^ (state >> SHIFTS[2])


def uniforms(samples: dict[str, Any], view: int, number: int) -> np.ndarray:
    """Numbers in [0, 1) that derive from each sample's key and the view, without a loop.

    Args:
        samples: ``index``, ``epoch`` and, where it is not 0, ``seed``: (B,) integers each.
        view: its number.
        number: how many numbers an image needs.

    Returns:
        (B, number) float64; a sample's are the same in any batch and on any process.
    """
    state = np.zeros(len(samples["index"]), dtype=np.uint64)
    for name in ("seed", "epoch", "index"):
        value = samples.get(name, 0) if name == "seed" else samples[name]
        state = _mix(state + STEP + np.asarray(value).astype(np.uint64))
    state = _mix(state + STEP + np.uint64(view))
    drawn = _mix(state[:, None] + STEP * np.arange(1, number + 1, dtype=np.uint64))
    return (drawn >> SHIFTS[3]) * 2.0**-53


def _to(values: np.ndarray, images: Tensor) -> Tensor:
    """A small array beside the images, as float32 or long."""
    dtype = torch.long if values.dtype.kind == "i" else images.dtype
    return torch.from_numpy(np.ascontiguousarray(values)).to(
        device=images.device, dtype=dtype, non_blocking=True
    )


def _per_image(values: np.ndarray, images: Tensor) -> Tensor:
    return _to(values, images).view(-1, 1, 1, 1)


def luma(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W), rounded as Pillow does; a single channel stays as it is."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    weighted = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return ((weighted + 32768) / 65536).floor_()


def blend(
    images: Tensor, factors: np.ndarray, contrast: np.ndarray, saturation: np.ndarray
) -> Tensor:
    """Brightness, contrast or saturation, as each image asks: blends with black, mean or luma.

    Args:
        images: (B, C, H, W).
        factors: (B,) 1 changes nothing.
        contrast, saturation: (B,) bool; neither: brightness.
    """
    colour = images.shape[1] in (1, 3)  # others have no luma, and so far no saturation either
    grey = luma(images) if colour else images
    mean = (grey.mean((1, 2, 3), keepdim=True, dtype=torch.float64) + 0.5).floor().to(grey)
    other = grey * _per_image(saturation, images) + mean * _per_image(contrast, images)
    blended = other + _per_image(factors, images) * (images - other)
    return blended.floor_().clamp_(0, 255)


def turn_hue(images: Tensor, turns: np.ndarray) -> Tensor:
    """Turn hues in HSV of 8 bits, as Pillow does.

    Args:
        images: (B, 3, H, W).
        turns: (B,) share of the circle.
    """
    top, bottom = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    chroma = top - bottom
    red, green, blue = ((top - images) / chroma.clamp(min=1)).split(1, dim=1)
    is_red, is_green = images[:, :1] == top, images[:, 1:2] == top
    hue = torch.where(is_red, blue - green, torch.where(is_green, 2 + red - blue, 4 + green - red))
    hue = ((hue / 6 + 1) % 1 * 255).floor_() * (chroma > 0)
    hue = (hue + _per_image(np.trunc(turns * 255), images)) % 256 * (6 / 255)
    amount = top * (chroma / top.clamp(min=1) * 255).floor_() / 255
    channels = []
    for offset in (5, 3, 1):
        place = (hue + offset) % 6
        channels.append(top - amount * torch.minimum(place, 4 - place).clamp_(0, 1))
    return (torch.cat(channels, 1) + 0.5).floor_()


def blur(images: Tensor, kernels: np.ndarray) -> Tensor:
    """Convolve each image with a kernel of its own, rows and columns; edges are repeated.

    Args:
        images: (B, C, H, W).
        kernels: (B, 2 * radius + 1).
    """
    batch, channels, height, width = images.shape
    radius = kernels.shape[1] // 2
    weight = _to(kernels, images).repeat_interleave(channels, 0)[:, None, None]
    rows = F.pad(images, (radius, radius, radius, radius), mode="replicate")
    rows = rows.reshape(1, batch * channels, height + 2 * radius, width + 2 * radius)
    # torch's own kernels: cuDNN's would search anew for each number of images, and round to TF32
    with torch.backends.cudnn.flags(enabled=False):
        rows = F.conv2d(rows, weight, groups=batch * channels)
        rows = F.conv2d(rows, weight.transpose(2, 3), groups=batch * channels)
    return (rows.view_as(images) + 0.5).floor_().clamp_(0, 255)


def _chosen(images: Tensor, chosen: np.ndarray, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change some images; how many is known on the CPU, so that nothing waits for the device."""
    if chosen.all():
        return change(images)
    if not chosen.any():
        return images
    index = _to(np.flatnonzero(chosen), images)
    return images.index_copy(0, index, change(images[index]))


def _check_jitter(channels: int, transform: ColorJitter) -> None:
    """Raise ValueError if a jitter turns hues or saturation of images that have none."""
    for name, place, centre in (("saturation", SATURATION, 1.0), ("hue", HUE, 0.0)):
        if transform.ranges[place] != [centre, centre]:
            check_colour(f"ColorJitter with {name}", channels)


def jitter(images: Tensor, transform: ColorJitter, drawn: np.ndarray) -> Tensor:
    """``ColorJitter``: each image has its factors and its order.

    Three blends before the hue and three behind it hold every order; those that an image does not
    need have the factor 1.
    """
    lows, highs = np.array(transform.ranges).T
    if images.shape[1] != 3:
        _check_jitter(images.shape[1], transform)
    order = drawn[:, 1:5].argsort(axis=1)
    factors = lows + (highs - lows) * drawn[:, 5:9]
    neutral = (lows == highs) & (lows == np.array(NEUTRAL))
    chosen = drawn[:, 0] < transform.p
    order, factors = order[chosen], factors[chosen]
    at = (order == HUE).argmax(axis=1)
    rank = np.arange(len(order))

    def blended(part: Tensor, place: np.ndarray, used: np.ndarray) -> Tensor:
        which = order[rank, np.minimum(place, HUE)]
        used = used & (which != HUE)
        if not used.any():
            return part
        values = np.where(used, factors[rank, which], 1.0)
        return blend(part, values, used & (which == 1), used & (which == 2))

    def change(part: Tensor) -> Tensor:
        for slot in range(HUE):
            part = blended(part, np.full(len(order), slot), slot < at)
        if not neutral[HUE] and images.shape[1] == 3:
            part = turn_hue(part, factors[:, HUE])
        for slot in range(HUE):
            part = blended(part, at + 1 + slot, at + 1 + slot <= HUE)
        return part

    return _chosen(images, chosen, change)


def grayscale(images: Tensor, transform: RandomGrayscale, drawn: np.ndarray) -> Tensor:
    """``RandomGrayscale``."""
    check_colour("RandomGrayscale", images.shape[1])
    chosen = drawn[:, 0] < transform.p
    return _chosen(images, chosen, lambda part: luma(part).expand_as(part))


def gaussian_blur(images: Tensor, transform: GaussianBlur, drawn: np.ndarray) -> Tensor:
    """``GaussianBlur``."""
    low, high = transform.sigma
    chosen = drawn[:, 0] < transform.p
    sigma = low + (high - low) * drawn[chosen, 1]
    kernels = blur_kernel(sigma, blur_radius(high))
    return _chosen(images, chosen, lambda part: blur(part, kernels))


def solarize(images: Tensor, transform: Solarize, drawn: np.ndarray) -> Tensor:
    """``Solarize``."""
    chosen = drawn[:, 0] < transform.p
    inverted = lambda part: torch.where(part < transform.threshold, part, 255 - part)  # noqa: E731
    return _chosen(images, chosen, inverted)


def flip(images: Tensor, transform: RandomFlip, drawn: np.ndarray) -> Tensor:
    """``RandomFlip``."""
    return _chosen(images, drawn[:, 0] < transform.p, lambda part: part.flip(-1))


def crop(images: Tensor, transform: RandomResizedCrop, drawn: np.ndarray) -> Tensor:
    """``RandomResizedCrop``."""
    height, width = images.shape[2:]
    boxes = _to(device_crop.crop_boxes(transform, width, height, drawn), images)
    return device_crop.resized_crops(images, boxes, transform.size, transform.interpolation)


# by transform of the pipeline: the operation on batches, and the numbers that it draws an image
OPERATIONS: dict[type, tuple[Callable[[Tensor, Any, np.ndarray], Tensor], int]] = {
    ColorJitter: (jitter, 9),
    GaussianBlur: (gaussian_blur, 2),
    RandomFlip: (flip, 1),
    RandomGrayscale: (grayscale, 1),
    RandomResizedCrop: (crop, device_crop.NUMBERS),
    Solarize: (solarize, 1),
}


@MODELS.register_module()
class DeviceAugment:
    """Crops, jitter, grayscale, blur, solarisation and flips for a batch of views, on its device.

    Distributions, order and, for the same parameters, pixels are those of the transforms of the
    pipeline, the rounding to 8 bits after each of them included. What is random derives from each
    sample's key and the view, so that a sample is the same in any batch, on any process and after a
    resume; it differs from what the pipeline draws. No operation waits for the device.

    Args:
        views: one entry per view as in ``MultiView``, in the order of the pipeline's views: dicts
            with ``transforms`` (``RandomResizedCrop``, bilinear or bicubic, ``ColorJitter``,
            ``RandomGrayscale``, ``GaussianBlur``, ``Solarize``, ``RandomFlip``; none: ``[]``),
            ``num`` and ``same_as``. Photographs of many sizes are cropped in the pipeline;
            crops here are for images of one size, such as those of
            :class:`~mmvitssl.datasets.ResidentImages`.

    Raises:
        ValueError: an entry that ``MultiView`` refuses too, or a transform without a twin here.
    """

    def __init__(self, views: Sequence[dict[str, Any]]) -> None:
        self.pipelines, self.seeds = expand_views("DeviceAugment", views)
        for transforms in self.pipelines:
            for transform in transforms:
                if type(transform) not in OPERATIONS:
                    raise ValueError(
                        f"DeviceAugment.views: {type(transform).__name__} does not run on the "
                        f"device; leave it in the pipeline. Those that do: "
                        f"{', '.join(kind.__name__ for kind in OPERATIONS)}."
                    )
                mode = getattr(transform, "interpolation", None)
                if mode is not None and mode not in device_crop.MODES:
                    raise ValueError(
                        f"DeviceAugment.views: RandomResizedCrop.interpolation='{mode.value}' does "
                        f"not run on the device; use 'bilinear' or 'bicubic', or leave the crop in "
                        f"the pipeline."
                    )

    def sizes(self, views: Sequence[Tensor]) -> list[tuple[int, int]]:
        """Height and width of each view after augmentation; see :meth:`__call__` for arguments."""
        self._check_number(views)
        crops = [
            [transform.size for transform in transforms if isinstance(transform, RandomResizedCrop)]
            for transforms in self.pipelines
        ]
        own = [(view.shape[-2], view.shape[-1]) for view in views]
        return [sizes[-1] if sizes else size for sizes, size in zip(crops, own, strict=True)]

    def _check_number(self, views: Sequence[Tensor]) -> None:
        if len(views) != len(self.pipelines):
            raise ValueError(
                f"DeviceAugment.views describes {len(self.pipelines)} views, but the pipeline "
                f"makes {len(views)}."
            )

    def __call__(self, views: Sequence[Tensor], samples: dict[str, Any]) -> list[Tensor]:
        """Augment views.

        Args:
            views: (B, C, H_v, W_v) each, uint8 or whole numbers in [0, 255].
            samples: ``index``, ``epoch`` and ``seed``, (B,) on the CPU; see :func:`uniforms`.

        Returns:
            Float32 tensors, whole numbers in [0, 255], of the same shapes or the crops' sizes.

        Raises:
            ValueError: another number of views than was configured.
        """
        self._check_number(views)
        with full_precision(views[0].device), torch.no_grad():
            return [
                self._augment(view.float(), samples, seed, transforms)
                for view, seed, transforms in zip(views, self.seeds, self.pipelines, strict=True)
            ]

    def _augment(
        self, images: Tensor, samples: dict[str, Any], seed: int, transforms: Sequence[Any]
    ) -> Tensor:
        counts = [OPERATIONS[type(transform)][1] for transform in transforms]
        drawn = uniforms(samples, seed, sum(counts))
        parts = np.split(drawn, np.cumsum(counts)[:-1], axis=1) if counts else []
        for transform, part in zip(transforms, parts, strict=True):
            images = OPERATIONS[type(transform)][0](images, transform, part)
        return images
