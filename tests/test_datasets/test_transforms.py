"""Augmentations against torchvision's: same pixels for same parameters, same distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision import transforms as T
from torchvision.transforms import functional as F

from mmvitssl.datasets import (
    CenterCrop,
    ColorJitter,
    GaussianBlur,
    RandomFlip,
    RandomGrayscale,
    RandomResizedCrop,
    Resize,
    Solarize,
)


def photograph(height: int = 50, width: int = 70) -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, size=(8, 8, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(one: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


def test_crops_are_distributed_as_torchvisions() -> None:
    width, height, number = 500, 375, 3000
    mine = RandomResizedCrop(224, scale=(0.08, 1.0))
    boxes = np.array([mine.box(width, height, rng(i)) for i in range(number)])
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    reference = np.array(
        [T.RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(number)]
    )
    for name, value in {
        "top": lambda b: b[:, 0],
        "left": lambda b: b[:, 1],
        "area": lambda b: b[:, 2] * b[:, 3],
        "aspect": lambda b: b[:, 3] / b[:, 2],
    }.items():
        assert stats.ks_2samp(value(boxes), value(reference)).pvalue > 1e-3, name


def test_crop_pixels_are_torchvisions() -> None:
    crop, image = RandomResizedCrop((24, 32), interpolation="bicubic"), photograph()
    top, left, height, width = crop.box(*image.size, rng(3))
    expected = F.resized_crop(
        image, top, left, height, width, [24, 32], T.InterpolationMode.BICUBIC
    )
    assert same(crop(image, rng(3)), expected)


def test_crop_falls_back_to_the_centre_of_extreme_images() -> None:
    crop = RandomResizedCrop(8, scale=(0.9, 1.0))
    assert crop.box(1000, 10, rng()) == (0, 493, 10, 13)
    assert crop.box(10, 1000, rng()) == (493, 0, 13, 10)


def test_jitter_with_fixed_factors_is_torchvisions() -> None:
    image = photograph()
    for names, function, factor in (
        ("brightness", F.adjust_brightness, 1.3),
        ("contrast", F.adjust_contrast, 0.6),
        ("saturation", F.adjust_saturation, 0.2),
        ("hue", F.adjust_hue, 0.1),
    ):
        jitter = ColorJitter(**{names: (factor, factor)})
        assert same(jitter(image, rng()), function(image, factor)), names


def test_jitter_ranges_are_torchvisions() -> None:
    mine = ColorJitter(0.4, 0.4, 0.2, 0.1)
    theirs = T.ColorJitter(0.4, 0.4, 0.2, 0.1)
    expected = [theirs.brightness, theirs.contrast, theirs.saturation, theirs.hue]
    assert mine.ranges == [list(bounds) for bounds in expected]
    assert ColorJitter(brightness=2.0).ranges[0] == [0.0, 3.0]


@pytest.mark.parametrize("p", [0.0, 0.2, 0.8, 1.0])
@pytest.mark.parametrize("kind", [RandomFlip, RandomGrayscale, GaussianBlur, Solarize])
def test_probabilities(kind: type, p: float) -> None:
    image, number = photograph(20, 20), 400
    # a blur that is too narrow changes no pixel
    transform = kind(sigma=(1.0, 2.0), p=p) if kind is GaussianBlur else kind(p=p)
    changed = sum(not same(transform(image, rng(i)), image) for i in range(number))
    assert stats.binomtest(changed, number, p).pvalue > 1e-4


def test_single_operations_are_torchvisions() -> None:
    image = photograph()
    assert same(RandomFlip(1.0)(image, rng()), F.hflip(image))
    assert same(RandomGrayscale(1.0)(image, rng()), F.rgb_to_grayscale(image, 3))
    assert same(Solarize(128)(image, rng()), F.solarize(image, 128))
    assert same(Resize(30)(image, rng()), F.resize(image, [30]))
    assert Resize((30, 40))(image, rng()).size == (40, 30)
    assert same(CenterCrop((20, 30))(image, rng()), F.center_crop(image, [20, 30]))


def test_blur_width_is_uniform_in_its_range() -> None:
    class Spy:
        def __init__(self) -> None:
            self.radii: list[float] = []

        def filter(self, blur: object) -> Spy:
            self.radii.append(blur.radius)  # type: ignore[attr-defined]
            return self

    spy, blur = Spy(), GaussianBlur((0.1, 2.0))
    for i in range(500):
        blur(spy, rng(i))  # type: ignore[arg-type]
    assert stats.kstest(spy.radii, stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RandomResizedCrop(0), "RandomResizedCrop.size"),
        (lambda: RandomResizedCrop(8, scale=(1.0, 0.1)), "scale must be"),
        (lambda: RandomResizedCrop(8, interpolation="cubic"), "use one of"),
        (lambda: RandomFlip(1.5), "RandomFlip.p must lie"),
        (lambda: ColorJitter(hue=0.7), "ColorJitter.hue"),
        (lambda: GaussianBlur((2.0, 0.1)), "GaussianBlur.sigma"),
    ],
)
def test_bad_arguments_name_their_field(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]
