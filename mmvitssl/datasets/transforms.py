"""Augmentations with an explicit generator: ``(image, rng) -> image`` on PIL images and arrays.

Distributions are torchvision's, pixels of PIL images are changed by torchvision's functional
operations and those of arrays by their fast twins; only the random numbers come from the sample's
own generator, and they are the same for both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from torchvision.transforms import functional as F
from torchvision.transforms.functional import InterpolationMode

from mmvitssl.arguments import check_choice
from mmvitssl.datasets import arrays
from mmvitssl.datasets.decode import REDUCED, Reduced
from mmvitssl.registry import TRANSFORMS

Picture = Image.Image | np.ndarray
Size = int | Sequence[int]
Range = float | Sequence[float]

ADJUST = ("adjust_brightness", "adjust_contrast", "adjust_saturation", "adjust_hue")
NEUTRAL = (1.0, 1.0, 1.0, 0.0)  # what changes nothing


def _operations(image: Picture | Reduced) -> Any:
    """Where the operations for this kind of image are."""
    return F if isinstance(image, Image.Image) else arrays


def extent(image: Picture | Reduced) -> tuple[int, int]:
    """Width and height."""
    if isinstance(image, np.ndarray):
        return image.shape[1], image.shape[0]
    return image.size


def _size(owner: str, size: Size | None) -> tuple[int, int]:
    if size is None:
        raise ValueError(
            f"{owner} has no size: state it, or read the config with mmvitssl's read_config, which "
            f"takes it from the encoder's image_size."
        )
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"{owner}.size must be a side or (height, width) in pixels, not {size}.")
    return pair[0], pair[1]


def _interpolation(owner: str, name: str) -> InterpolationMode:
    known = {mode.value: mode for mode in InterpolationMode}
    check_choice(f"{owner}.interpolation", name, known)
    return known[name]


def _probability(owner: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"{owner}.p must lie in [0, 1], not {p}.")
    return p


@TRANSFORMS.register_module()
class RandomResizedCrop:
    """Crop a random part of random aspect and resize it.

    Args:
        size: side, or (height, width), in pixels; None: of the encoder's ``image_size``, see below.
        scale: least and greatest area of the crop as a fraction of the image's.
        ratio: least and greatest width / height; drawn uniformly in the logarithm.
        interpolation: 'bilinear', 'bicubic', 'lanczos', ...
        of_image: ``size`` as a share of the encoder's image size, rounded to whole patches.
        per_patch: ``size`` as pixels per patch of the encoder: the stride of a tokenizer.
        clip: draw once and clip a part that exceeds the image, as the linear probes of MAE and CAE
            do, in place of up to ten draws until one fits (torchvision). Parts are then larger on
            average, and more often as high as the image.

    ``of_image`` and ``per_patch`` are read where a config is read
    (:mod:`mmvitssl.engine.image_size`), which writes ``size``.
    """

    def __init__(
        self,
        size: Size | None = None,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
        of_image: float | None = None,
        per_patch: int | None = None,
        clip: bool = False,
    ) -> None:
        self.size = _size("RandomResizedCrop", size)
        self.clip = clip
        for name, pair in (("scale", scale), ("ratio", ratio)):
            if len(pair) != 2 or not 0 < pair[0] <= pair[1]:
                raise ValueError(f"RandomResizedCrop.{name} must be (least, greatest), not {pair}.")
        self.scale = (float(scale[0]), float(scale[1]))
        self.ratio = (float(ratio[0]), float(ratio[1]))
        self.interpolation = _interpolation("RandomResizedCrop", interpolation)

    def box(self, width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Top, left, height and width of the crop."""
        for _ in range(10):
            area = width * height * rng.uniform(self.scale[0], self.scale[1])
            aspect = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if self.clip:
                w, h = min(max(w, 1), width), min(max(h, 1), height)
            if 0 < w <= width and 0 < h <= height:
                top = int(rng.integers(0, height - h + 1))
                left = int(rng.integers(0, width - w + 1))
                return top, left, h, w
        return self.centred(width, height)

    def centred(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The crop of an image in which ten draws did not fit."""
        aspect = min(max(width / height, self.ratio[0]), self.ratio[1])
        w = min(width, round(height * aspect))
        h = min(height, round(width / aspect))
        return (height - h) // 2, (width - w) // 2, h, w

    def shrink(self, width: int, height: int, rng: np.random.Generator, room: float) -> int:
        """How far an image may be reduced until this crop is ``room`` times what it becomes."""
        _, _, rows, columns = self.box(width, height, rng)
        room = min(rows / self.size[0], columns / self.size[1]) / room
        return max(factor for factor in REDUCED if factor <= max(1.0, room))

    def __call__(self, image: Picture | Reduced, rng: np.random.Generator) -> Picture:
        box = self.box(*extent(image), rng)
        return _operations(image).resized_crop(image, *box, list(self.size), self.interpolation)


@TRANSFORMS.register_module()
class Resize:
    """Resize the shorter side to ``size``, or to (height, width) exactly.

    Args:
        size: in pixels; None: of the encoder's ``image_size``, as in :class:`RandomResizedCrop`.
        interpolation: see :class:`RandomResizedCrop`.
        of_image: ``size`` as a share of the encoder's image size, rounded to pixels.
    """

    def __init__(
        self,
        size: Size | None = None,
        interpolation: str = "bilinear",
        of_image: float | None = None,
    ) -> None:
        pair = _size("Resize", size)
        self.size = [pair[0]] if isinstance(size, int) else list(pair)
        self.interpolation = _interpolation("Resize", interpolation)

    def __call__(self, image: Picture, rng: np.random.Generator) -> Picture:
        return _operations(image).resize(image, self.size, self.interpolation)


@TRANSFORMS.register_module()
class CenterCrop:
    """Cut ``size`` out of the middle.

    Args:
        size: in pixels; None: the encoder's ``image_size``.
        of_image: ``size`` as a share of it.
    """

    def __init__(self, size: Size | None = None, of_image: float | None = None) -> None:
        self.size = _size("CenterCrop", size)

    def __call__(self, image: Picture, rng: np.random.Generator) -> Picture:
        return _operations(image).center_crop(image, list(self.size))


@TRANSFORMS.register_module()
class RandomFlip:
    """Mirror left to right with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = _probability("RandomFlip", p)

    def __call__(self, image: Picture | Reduced, rng: np.random.Generator) -> Picture | Reduced:
        return _operations(image).hflip(image) if self.draw(rng) else image

    def draw(self, rng: np.random.Generator) -> bool:
        """Whether to mirror."""
        return bool(rng.random() < self.p)


def _range(name: str, value: Range, centre: float, bound: tuple[float, float]) -> list[float]:
    if isinstance(value, (int, float)):
        value = [max(centre - value, bound[0]) if centre else -value, centre + value]
    low, high = value
    if not bound[0] <= low <= high <= bound[1]:
        raise ValueError(f"ColorJitter.{name}={value} must lie in {bound}.")
    return [low, high]


@TRANSFORMS.register_module()
class ColorJitter:
    """Change brightness, contrast, saturation and hue in random order, with probability ``p``.

    Saturation and hue leave grey images as they are.

    Args:
        brightness, contrast, saturation: v for factors in [max(0, 1 - v), 1 + v], or the range.
        hue: v for shifts in [-v, v], or the range; at most half a turn, 0.5.
        p: probability that anything is changed.

    Raises:
        ValueError: a range that is impossible, or saturation or hue for images that have neither
            one nor three channels.
    """

    def __init__(
        self,
        brightness: Range = 0.0,
        contrast: Range = 0.0,
        saturation: Range = 0.0,
        hue: Range = 0.0,
        p: float = 1.0,
    ) -> None:
        unbounded = (0.0, math.inf)
        self.ranges = [
            _range("brightness", brightness, 1.0, unbounded),
            _range("contrast", contrast, 1.0, unbounded),
            _range("saturation", saturation, 1.0, unbounded),
            _range("hue", hue, 0.0, (-0.5, 0.5)),
        ]
        self.p = _probability("ColorJitter", p)

    def __call__(self, image: Picture, rng: np.random.Generator) -> Picture:
        if rng.random() >= self.p:
            return image
        order = rng.permutation(4)
        factors = [float(rng.uniform(low, high)) for low, high in self.ranges]
        operations = _operations(image)
        for which in order:
            if self.ranges[which] != [NEUTRAL[which]] * 2:
                image = getattr(operations, ADJUST[which])(image, factors[which])
        return image


@TRANSFORMS.register_module()
class RandomGrayscale:
    """Remove colour with probability ``p``; grey images stay as they are.

    Raises:
        ValueError: images that have neither one nor three channels.
    """

    def __init__(self, p: float = 0.2) -> None:
        self.p = _probability("RandomGrayscale", p)

    def __call__(self, image: Picture, rng: np.random.Generator) -> Picture:
        if rng.random() >= self.p:
            return image
        if isinstance(image, Image.Image) and image.mode == "L":
            return image
        return _operations(image).rgb_to_grayscale(image, num_output_channels=3)


@TRANSFORMS.register_module()
class GaussianBlur:
    """Blur with a Gaussian of random width, with probability ``p`` (SimCLR, MoCo v3).

    Args:
        sigma: least and greatest standard deviation, in pixels.
        p: probability of blurring.
    """

    def __init__(self, sigma: Sequence[float] = (0.1, 2.0), p: float = 1.0) -> None:
        if len(sigma) != 2 or not 0 <= sigma[0] <= sigma[1]:
            raise ValueError(f"GaussianBlur.sigma must be (least, greatest), not {sigma}.")
        self.sigma = (float(sigma[0]), float(sigma[1]))
        self.p = _probability("GaussianBlur", p)

    def __call__(self, image: Picture, rng: np.random.Generator) -> Picture:
        if rng.random() >= self.p:
            return image
        sigma = float(rng.uniform(self.sigma[0], self.sigma[1]))
        if isinstance(image, np.ndarray):
            return arrays.gaussian_blur(image, sigma)
        return image.filter(ImageFilter.GaussianBlur(sigma))


@TRANSFORMS.register_module()
class Solarize:
    """Invert the pixels from ``threshold`` on, with probability ``p`` (BYOL)."""

    def __init__(self, threshold: int = 128, p: float = 1.0) -> None:
        self.threshold = threshold
        self.p = _probability("Solarize", p)

    def __call__(self, image: Picture, rng: np.random.Generator) -> Picture:
        if rng.random() >= self.p:
            return image
        return _operations(image).solarize(image, self.threshold)
