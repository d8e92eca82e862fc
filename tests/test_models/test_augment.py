"""Augmentation of batches: the pixels of the pipeline's transforms, and their distributions."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy import stats
from torchvision.transforms import functional as F

from demo.photographs import read_photograph
from mmvitssl.datasets import (
    ColorJitter,
    GaussianBlur,
    RandomFlip,
    RandomGrayscale,
    RandomResizedCrop,
    SampleKey,
    Solarize,
    arrays,
)
from mmvitssl.models import augment, device_crop
from mmvitssl.models.augment import DeviceAugment, uniforms
from mmvitssl.models.data_preprocessor import ViewPreprocessor
from mmvitssl.registry import TRANSFORMS

NAMES = ("astronaut", "chelsea", "coffee", "china", "flower", "rocket")
VIEW1 = [
    dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type="RandomGrayscale", p=0.2),
    dict(type="GaussianBlur", sigma=(0.1, 2.0), p=1.0),
    dict(type="RandomFlip", p=0.5),
]
VIEW2 = [
    *VIEW1[:2],
    dict(type="GaussianBlur", sigma=(0.1, 2.0), p=0.1),
    dict(type="Solarize", threshold=128, p=0.2),
    VIEW1[3],
]


def cut(name: str, side: int = 64) -> np.ndarray:
    photograph = read_photograph(name)
    image = Image.fromarray(photograph[:300, :300]).resize((side, side))
    return np.ascontiguousarray(image)


def batch_of(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def floats(pictures: list[np.ndarray]) -> torch.Tensor:
    return batch_of(pictures).float()


def differences(batch: torch.Tensor, expected: list[Image.Image]) -> np.ndarray:
    got = batch.permute(0, 2, 3, 1).numpy()
    assert np.array_equal(got, got.round()) and got.min() >= 0 and got.max() <= 255
    return np.abs(got - np.stack([np.asarray(image, dtype=np.float64) for image in expected]))


def samples_of(number: int, epoch: int = 0, seed: int = 0) -> dict[str, Any]:
    index = torch.arange(number)
    return {
        "index": index,
        "epoch": torch.full_like(index, epoch),
        "seed": torch.full_like(index, seed),
    }


PICTURES = [cut(name) for name in NAMES]
PILLOW = [Image.fromarray(picture) for picture in PICTURES]


@pytest.mark.parametrize(
    ("which", "adjust"),
    [(0, F.adjust_brightness), (1, F.adjust_contrast), (2, F.adjust_saturation)],
)
def test_blends_are_pillows(which: int, adjust: Any) -> None:
    factors = np.array([0.0, 0.6, 0.83, 1.0, 1.21, 1.8])
    chosen = [np.full(6, which == number) for number in (1, 2)]
    got = augment.blend(floats(PICTURES), factors, *chosen)
    expected = [adjust(image, factor) for image, factor in zip(PILLOW, factors, strict=True)]
    difference = differences(got, expected)
    assert difference.max() <= 1 and difference.mean() < 1e-3


def test_hues_are_pillows() -> None:
    turns = np.array([-0.5, -0.1, -0.03, 0.0, 0.07, 0.3])
    got = augment.turn_hue(floats(PICTURES), turns)
    expected = [F.adjust_hue(image, turn) for image, turn in zip(PILLOW, turns, strict=True)]
    difference = differences(got, expected)
    assert difference.mean() < 0.01 and (difference > 1).mean() < 1e-3


def test_blur_is_pillows() -> None:
    sigma = np.array([0.1, 0.3, 0.7, 1.1, 1.6, 2.0])
    got = augment.blur(floats(PICTURES), augment.blur_kernel(sigma, 6))
    expected = [
        image.filter(ImageFilter.GaussianBlur(float(value)))
        for image, value in zip(PILLOW, sigma, strict=True)
    ]
    difference = differences(got, expected)[:, 6:-6, 6:-6]  # Pillow repeats edges once a pass
    assert difference.max() <= 3 and difference.mean() < 0.5
    assert differences(got, expected).mean() < 0.5


def test_grey_solarised_and_mirrored_are_pillows() -> None:
    always = np.zeros((6, 1))
    grey = augment.grayscale(floats(PICTURES), RandomGrayscale(1.0), always)
    assert differences(grey, [F.rgb_to_grayscale(image, 3) for image in PILLOW]).max() == 0
    inverted = augment.solarize(floats(PICTURES), Solarize(100, 1.0), always)
    assert differences(inverted, [F.solarize(image, 100) for image in PILLOW]).max() == 0
    mirrored = augment.flip(floats(PICTURES), RandomFlip(1.0), always)
    assert differences(mirrored, [F.hflip(image) for image in PILLOW]).max() == 0


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [48, (64, 40), 16])
def test_crops_are_the_pipelines(size: Any, mode: str) -> None:
    transform = RandomResizedCrop(size, scale=(0.05, 1.0), interpolation=mode)
    pictures = [PICTURES[number % 6][:56].copy() for number in range(48)]
    drawn = np.random.default_rng(0).random((48, device_crop.NUMBERS))
    boxes = device_crop.crop_boxes(transform, 64, 56, drawn)
    expected = [
        Image.fromarray(
            arrays.resized_crop(picture, *box, list(transform.size), transform.interpolation)
        )
        for picture, box in zip(pictures, boxes.tolist(), strict=True)
    ]
    got = augment.crop(floats(pictures), transform, drawn)
    difference = differences(got, expected)
    assert difference.max() <= 2 and difference.mean() < 0.05


@pytest.mark.parametrize(
    "settings", [dict(scale=(0.2, 1.0)), dict(scale=(0.5, 1.0), clip=True), dict(ratio=(3.0, 4.0))]
)
def test_boxes_are_distributed_as_the_pipelines(settings: Any) -> None:
    transform = RandomResizedCrop(8, **settings)
    width, height, number = 48, 32, 3000
    drawn = np.random.default_rng(1).random((number, device_crop.NUMBERS))
    got = device_crop.crop_boxes(transform, width, height, drawn)
    rng = np.random.default_rng(2)
    expected = np.array([transform.box(width, height, rng) for _ in range(number)])
    top, left, rows, columns = got.T
    assert top.min() >= 0 and left.min() >= 0 and rows.min() > 0 and columns.min() > 0
    assert (top + rows).max() <= height and (left + columns).max() <= width
    noise = np.random.default_rng(0).random((2, number))  # the tests are of continuous numbers
    for one, other in zip(got.T, expected.T, strict=True):
        assert stats.ks_2samp(one + noise[0], other + noise[1]).pvalue > 1e-3


def test_a_box_that_never_fits_is_centred() -> None:
    transform = RandomResizedCrop(8, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    drawn = np.random.default_rng(0).random((5, device_crop.NUMBERS))
    got = device_crop.crop_boxes(transform, 40, 20, drawn)
    assert got.tolist() == [list(transform.box(40, 20, np.random.default_rng(0)))] * 5


def test_a_crop_at_another_size_is_the_same_part() -> None:
    views = [dict(transforms=[dict(type="RandomResizedCrop", size=32), *VIEW1[3:]])]
    views.append(dict(transforms=[dict(type="RandomResizedCrop", size=16), *VIEW1[3:]], same_as=0))
    device = DeviceAugment(views)
    batch = [batch_of(PICTURES)] * 2
    assert device.sizes(batch) == [(32, 32), (16, 16)]
    large, small = device(batch, samples_of(6))
    halved = torch.nn.functional.avg_pool2d(large, 2)
    assert small.shape[-2:] == (16, 16) and (halved - small).abs().mean() < 4
    assert (halved - small.flip(0)).abs().mean() > 20


def test_every_image_has_its_own_order_and_factors() -> None:
    transform = ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8)
    drawn = np.random.default_rng(0).random((48, 9))
    pictures = [PICTURES[number % 6] for number in range(48)]
    got = augment.jitter(floats(pictures), transform, drawn)
    lows, highs = np.array(transform.ranges).T
    adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    expected = []
    for picture, numbers in zip(pictures, drawn, strict=True):
        image = Image.fromarray(picture)
        for which in numbers[1:5].argsort() if numbers[0] < 0.8 else ():
            factor = lows[which] + (highs - lows)[which] * numbers[5 + which]
            image = adjust[which](image, factor)
        expected.append(image)
    difference = differences(got, expected)
    assert difference.mean() < 0.02 and (difference > 2).mean() < 2e-3
    untouched = drawn[:, 0] >= 0.8
    assert untouched.any() and difference[untouched].max() == 0


def test_hue_is_left_alone_where_it_is_not_asked_for() -> None:
    picture = floats(PICTURES)
    drawn = np.random.default_rng(0).random((6, 9))
    assert torch.equal(augment.jitter(picture, ColorJitter(), drawn), picture)


def statistics(images: np.ndarray) -> np.ndarray:
    """(B, 3, H, W) -> (B, 13): means, deviations, gradients by channel, and the brighter side."""
    images = images.astype(np.float64)
    half = images.shape[3] // 2
    parts = [
        images.mean((2, 3)),
        images.std((2, 3)),
        np.abs(np.diff(images, axis=3)).mean((2, 3)),
        np.abs(np.diff(images, axis=2)).mean((2, 3)),
        (images[..., :half] - images[..., half:]).mean((1, 2, 3))[:, None],
    ]
    return np.concatenate(parts, axis=1)


@cache
def of_the_pipeline(view: int, name: str, number: int) -> np.ndarray:
    steps = [TRANSFORMS.build(transform) for transform in (VIEW1, VIEW2)[view]]
    drawn = []
    start = Image.fromarray(cut(name, 32))
    for index in range(number):
        image: Any = start
        rng = SampleKey(index, seed=3).generator(0)
        for step in steps:
            image = step(image, rng)
        drawn.append(np.asarray(image).transpose(2, 0, 1))
    return statistics(np.stack(drawn))


def compare(transforms: list[Any], view: int, name: str, number: int = 1000) -> float:
    """The least p-value of the statistics' two-sample tests, times how many they are.

    Images that are not jittered give the same values up to rounding, which the tests must not see:
    hence the noise, a twentieth of the spread.
    """
    expected = of_the_pipeline(view, name, number)
    device = DeviceAugment([dict(transforms=transforms)])
    (drawn,) = device([batch_of([cut(name, 32)] * number)], samples_of(number, seed=5))
    noise = np.random.default_rng(0).normal(scale=expected.std(0) / 20, size=(2, *expected.shape))
    got, expected = statistics(drawn.numpy()) + noise[0], expected + noise[1]
    columns = range(expected.shape[1])
    least = min(stats.ks_2samp(got[:, k], expected[:, k]).pvalue for k in columns)
    return float(least) * len(columns)


@pytest.mark.parametrize("view", [0, 1])
@pytest.mark.parametrize("name", ["chelsea", "china"])
def test_draws_are_distributed_as_the_pipelines(view: int, name: str) -> None:
    assert compare((VIEW1, VIEW2)[view], view, name) > 1e-2


@pytest.mark.parametrize(
    "wrong",
    [
        [dict(VIEW1[0], brightness=0.6), *VIEW1[1:]],
        [dict(VIEW1[0], p=0.6), *VIEW1[1:]],
        [*VIEW1[:2], dict(VIEW1[2], sigma=(0.1, 1.5)), VIEW1[3]],
        [*VIEW1[:3], dict(VIEW1[3], p=0.7)],
    ],
    ids=["brightness", "probability", "blur", "flip"],
)
def test_the_test_of_distributions_sees_a_wrong_one(wrong: list[Any]) -> None:
    assert compare(wrong, 0, "chelsea") < 1e-2


def test_uniforms_are_uniform_and_independent() -> None:
    drawn = uniforms(samples_of(4000, epoch=2), view=1, number=4)
    assert drawn.min() >= 0 and drawn.max() < 1
    for column in drawn.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    others = [
        uniforms(samples_of(4000, epoch=3), 1, 4),
        uniforms(samples_of(4000, epoch=2, seed=1), 1, 4),
        uniforms(samples_of(4000, epoch=2), 0, 4),
        np.roll(drawn, 1, axis=0),
        np.roll(drawn, 1, axis=1),
    ]
    for other in others:
        assert abs(np.corrcoef(drawn[:, 0], other[:, 0])[0, 1]) < 0.06  # 3.8 deviations


def test_a_sample_is_the_same_in_any_batch() -> None:
    device = DeviceAugment([dict(transforms=VIEW1), dict(transforms=VIEW2)])
    views = [batch_of(PICTURES), batch_of(PICTURES)]
    whole = device(views, samples_of(6, epoch=4))
    order = torch.tensor([3, 0])
    part = device(
        [view[order] for view in views],
        {name: value[order] for name, value in samples_of(6, epoch=4).items()},
    )
    for one, other in zip(whole, part, strict=True):
        assert torch.equal(one[order], other)
    assert not torch.equal(whole[0], device(views, samples_of(6, epoch=5))[0])
    assert not torch.equal(whole[0], device(views, samples_of(6, epoch=4, seed=1))[0])
    assert torch.equal(whole[0], device(views, samples_of(6, epoch=4))[0])


def test_same_as_draws_the_same_numbers() -> None:
    flips = [dict(type="RandomFlip", p=0.5)]
    device = DeviceAugment([dict(transforms=flips), dict(transforms=flips, same_as=0)])
    one, other = device([batch_of(PICTURES * 3)] * 2, samples_of(18))
    assert torch.equal(one, other) and not torch.equal(one, floats(PICTURES * 3))


def test_nothing_waits_for_the_device() -> None:
    """On the meta device there are no values: reading one back, or a shape from one, fails."""
    crop = dict(type="RandomResizedCrop", size=24)
    views = [dict(transforms=VIEW1), dict(transforms=[crop, *VIEW2], num=2)]
    device = DeviceAugment(views)
    images = [torch.empty(16, 3, 32, 48, dtype=torch.uint8, device="meta")] * 3
    out = device(images, samples_of(16))
    assert [tuple(view.shape[2:]) for view in out] == [(32, 48), (24, 24), (24, 24)]
    with pytest.raises((RuntimeError, NotImplementedError)):
        out[0].max().item()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_cpus_pixels_without_waiting() -> None:
    crop = dict(type="RandomResizedCrop", size=48)
    device = DeviceAugment([dict(transforms=[crop, *VIEW1]), dict(transforms=VIEW2)])
    views = [batch_of(PICTURES)] * 2
    expected = device(views, samples_of(6))
    on_gpu = [view.cuda() for view in views]
    torch.cuda.set_sync_debug_mode("error")
    try:
        got = device(on_gpu, samples_of(6))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for one, other in zip(got, expected, strict=True):
        difference = (one.cpu() - other).abs()
        assert difference.mean() < 0.05


def test_reduced_precision_outside_changes_nothing() -> None:
    device = DeviceAugment([dict(transforms=VIEW1)])
    expected = device([batch_of(PICTURES)], samples_of(6))[0]
    with torch.autocast("cpu", torch.bfloat16):
        got = device([batch_of(PICTURES)], samples_of(6))[0]
    assert got.dtype == torch.float32 and torch.equal(got, expected)


def test_the_preprocessor_augments_for_training_only() -> None:
    config = dict(type="DeviceAugment", views=[dict(transforms=VIEW1)])
    processor = ViewPreprocessor(augment=config)
    data = {"views": [batch_of(PICTURES)], "samples": samples_of(6)}
    trained = processor(data, training=True)["views"][0]
    assert torch.equal((trained.pixels * 255).round() / 255, trained.pixels)
    direct = DeviceAugment(config["views"])(data["views"], data["samples"])[0]
    assert torch.equal(trained.pixels, direct / 255)
    torch.testing.assert_close(trained.images, processor.normalise(trained.pixels))
    tested = processor(data, training=False)["views"][0]
    assert torch.equal(tested.pixels, floats(PICTURES) / 255)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="CenterCrop does not run on the device"):
        DeviceAugment([dict(transforms=[dict(type="CenterCrop", size=8)])])
    lanczos = dict(type="RandomResizedCrop", size=8, interpolation="lanczos")
    with pytest.raises(ValueError, match="interpolation='lanczos' does not run on the device"):
        DeviceAugment([dict(transforms=[lanczos])])
    with pytest.raises(ValueError, match=r"DeviceAugment.views entries have"):
        DeviceAugment([dict(steps=[])])
    with pytest.raises(ValueError, match="describes 1 views, but the pipeline makes 2"):
        DeviceAugment([dict(transforms=[])])([torch.zeros(1, 3, 4, 4)] * 2, samples_of(1))


def test_blur_reaches_as_far_as_the_widest() -> None:
    batch = torch.zeros(1, 3, 41, 41)
    batch[:, :, 20, 20] = 255.0
    drawn = np.array([[0.0, 1 - 1e-9]])
    got = augment.gaussian_blur(batch, GaussianBlur((0.1, 6.0)), drawn)[0, 0].numpy()
    place = np.arange(41) - 20
    kernel = augment.blur_kernel(6.0, 20)
    assert abs((kernel * place**2).sum() - 36) < 1e-9 and abs(kernel.sum() - 1) < 1e-12
    assert np.abs(got - np.floor(255 * np.outer(kernel, kernel) + 0.5)).max() == 0
