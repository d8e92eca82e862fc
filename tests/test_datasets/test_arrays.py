"""Arrays in place of PIL images: the same crops and the same pixels to within rounding."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import functional as F
from torchvision.transforms.functional import InterpolationMode

from demo.photographs import read_photograph
from mmvitssl.datasets import (
    CenterCrop,
    LoadImage,
    MultiView,
    RandomFlip,
    RandomResizedCrop,
    Resize,
    SampleKey,
    arrays,
)
from mmvitssl.datasets.decode import EncodedImage, Reduced
from mmvitssl.datasets.images import BrokenImageError
from mmvitssl.datasets.multiview import to_tensor
from mmvitssl.engine.config_files import read_config
from mmvitssl.registry import TRANSFORMS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NAMES = ("chelsea", "china", "coffee", "rocket")
MOCOV3 = Config.fromfile(CONFIGS / "_base_/datasets/imagenet_mocov3.py")


def picture(name: str = "chelsea") -> np.ndarray:
    return np.ascontiguousarray(read_photograph(name)[:300, :400])


def jpeg(pixels: np.ndarray, **options: Any) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


def encoded(data: bytes) -> EncodedImage:
    return EncodedImage("x.jpg", BytesIO(data))


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def difference(one: Any, other: Any) -> np.ndarray:
    one, other = np.asarray(one), np.asarray(other)
    assert one.shape == other.shape and one.dtype == other.dtype == np.uint8
    return np.abs(one.astype(int) - other)


def psnr(one: Any, other: Any) -> float:
    return float(10 * np.log10(255**2 / max((difference(one, other) ** 2.0).mean(), 1e-9)))


@pytest.mark.parametrize("factor", [0.0, 0.6, 0.97, 1.0, 1.4, 1.8])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_blends_are_pillows(name: str, factor: float) -> None:
    pixels = picture()
    expected = getattr(F, f"adjust_{name}")(Image.fromarray(pixels), factor)
    found = difference(getattr(arrays, f"adjust_{name}")(pixels, factor), expected)
    assert found.max() <= 1 and found.mean() < 0.02


@pytest.mark.parametrize("turn", [-0.2, -0.1, -0.03, 0.05, 0.1, 0.5])
def test_hues_are_as_near_the_exact_as_pillows(turn: float) -> None:
    pixels = picture("coffee")
    colours = torch.from_numpy(pixels).permute(2, 0, 1).double() / 255
    exact = (F.adjust_hue(colours, turn) * 255).permute(1, 2, 0).numpy()
    pillows = F.adjust_hue(Image.fromarray(pixels), turn)
    for turned in (arrays.adjust_hue(pixels, turn), np.asarray(pillows)):
        error = np.abs(turned - exact)
        assert error.mean() < 1.1 and error.max() < 8


@pytest.mark.parametrize("sigma", [0.1, 0.4, 0.9, 1.3, 2.0])
def test_blur_is_pillows(sigma: float) -> None:
    pixels = picture()
    expected = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma))
    found = difference(arrays.gaussian_blur(pixels, sigma), expected)
    assert found.mean() < 0.5 and found[6:-6, 6:-6].max() <= 3


@settings(max_examples=50, deadline=None)
@given(sigma=st.floats(0, 8), more=st.integers(0, 3))
def test_kernels_have_the_variance_that_they_should(sigma: float, more: int) -> None:
    radius = arrays.blur_radius(sigma) + more
    kernel = arrays.blur_kernel(sigma, radius)
    place = np.arange(-radius, radius + 1)
    assert math.isclose(kernel.sum(), 1, abs_tol=1e-9) and kernel.min() > -1e-12
    assert math.isclose((kernel * place**2).sum(), sigma**2, abs_tol=1e-9)
    assert np.allclose(kernel, kernel[::-1], atol=1e-12)


def test_single_operations_are_pillows() -> None:
    pixels = picture()
    image = Image.fromarray(pixels)
    assert difference(arrays.hflip(pixels), F.hflip(image)).max() == 0
    assert difference(arrays.solarize(pixels, 77), F.solarize(image, 77)).max() == 0
    assert difference(arrays.rgb_to_grayscale(pixels), F.rgb_to_grayscale(image, 3)).max() <= 1
    for size in ((20, 30), (310, 500)):
        assert (
            difference(CenterCrop(size)(pixels, rng(0)), CenterCrop(size)(image, rng(0))).max() == 0
        )
    assert torch.equal(to_tensor(pixels), torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [50, (120, 70), (400, 600)])
def test_resizing_is_pillows(mode: str, size: Any) -> None:
    pixels = picture()
    resize = Resize(size, mode)
    found = difference(resize(pixels, rng(0)), resize(Image.fromarray(pixels), rng(0)))
    assert found.max() <= 2 and found.mean() < 0.02


def test_the_same_random_numbers_give_the_same_views() -> None:
    """Whole pipelines of MoCo v3: a wrong box, factor, order or flip would be far beyond this."""
    sized = {"RandomResizedCrop": dict(size=224)}
    steps = [
        [TRANSFORMS.build({**step, **sized.get(step["type"], {})}) for step in view]
        for view in (MOCOV3.view1, MOCOV3.view2)
    ]
    for name in NAMES:
        array: Any = picture(name)
        for number, transforms in enumerate(steps * 4):
            one, other = array, Image.fromarray(array)
            first, second = rng(number), rng(number)
            for transform in transforms:
                one, other = transform(one, first), transform(other, second)
            assert first.random() == second.random()
            assert difference(one, other).mean() < 2.5, (name, number)


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}])
def test_jpegs_are_decoded_as_by_pillow(options: dict[str, Any]) -> None:
    data = jpeg(picture(), **options)
    image = encoded(data)
    assert difference(image.decode(), Image.open(BytesIO(data))).max() == 0
    for shrink in (2, 4, 8):
        draft = Image.open(BytesIO(data))
        draft.draft("RGB", (400 // shrink, 300 // shrink))
        reduced = image.decode(shrink)
        assert isinstance(reduced, Reduced) and reduced.size == (400, 300)
        assert difference(reduced.pixels, draft).max() == 0


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "I;16"])
def test_other_modes_are_pillows(mode: str) -> None:
    stream = BytesIO()
    kind = "JPEG" if mode in ("L", "CMYK") else "TIFF"
    image = Image.fromarray(picture())
    (image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)).save(stream, kind)
    one = encoded(stream.getvalue())
    assert one.shrinks == ((1, 2, 4, 8) if mode == "L" else (1,))
    assert difference(one.decode(), encoded(stream.getvalue()).pillow()).max() == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(picture()[:203, :301], exif=exif)
    turned = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    image = encoded(data)
    assert image.size == turned.size and difference(image.decode(), turned).max() == 0
    crop = RandomResizedCrop(40, scale=(0.3, 0.6))
    whole, reduced = crop(np.array(turned), rng(1)), crop(image.decode(2), rng(1))
    shifted = np.abs(np.asarray(whole)[:, 1:].astype(int) - np.asarray(reduced)[:, :-1])
    assert psnr(whole, reduced) > 35 and shifted.mean() > 2 * difference(whole, reduced).mean()


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.98])
@pytest.mark.parametrize("reduce", [None, 1.0])
def test_jpegs_that_end_early_are_named(tmp_path: Path, kept: float, reduce: Any) -> None:
    data = jpeg(picture())
    (tmp_path / "cut.jpg").write_bytes(data[: int(len(data) * kept)])
    load = LoadImage(backend="opencv", reduce=reduce)
    views = MultiView([dict(transforms=[dict(type="RandomResizedCrop", size=16)])])
    with pytest.raises(BrokenImageError, match="cut.jpg cannot be read"):
        views(load({"path": str(tmp_path / "cut.jpg"), "key": SampleKey(0)}))


def views_of(path: Path, views: list[Any], reduce: float | None, seed: int) -> tuple[Any, Any]:
    load = LoadImage(backend="opencv", reduce=reduce)
    results = MultiView(views)(load({"path": str(path), "key": SampleKey(seed)}))
    return results["views"], results["image"]


@pytest.mark.parametrize("flip_first", [False, True])
def test_crops_of_reduced_images_are_those_of_whole_ones(tmp_path: Path, flip_first: bool) -> None:
    crop = dict(type="RandomResizedCrop", size=40, scale=(0.08, 1.0), interpolation="bicubic")
    small = dict(crop, size=(24, 32))
    flip = [dict(type="RandomFlip", p=0.5)] * flip_first
    views = [dict(transforms=[*flip, crop]), dict(transforms=[*flip, small], same_as=0)]
    ratios: list[float] = []
    shrinks = set()
    for number, name in enumerate(NAMES):
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(jpeg(picture(name)[:299, :397]))  # no multiple of 8
        for seed in range(25 * number, 25 * number + 25):
            whole, _ = views_of(path, views, None, seed)
            reduced, image = views_of(path, views, 1.5, seed)
            shrinks.add(image.shrink if isinstance(image, Reduced) else 1)
            if isinstance(image, Reduced):
                ratios += map(psnr, whole, reduced)
    assert shrinks >= {1, 2, 4}
    assert min(ratios) >= 37 and np.median(ratios) >= 44  # dB


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(8, 3000), height=st.integers(8, 3000), seed=st.integers(0, 99),
    room=st.floats(1, 3),
)  # fmt: skip
def test_no_crop_is_enlarged_because_of_the_reduction(
    width: int, height: int, seed: int, room: float
) -> None:
    crop = RandomResizedCrop((48, 64))
    shrink = crop.shrink(width, height, rng(seed), room)
    _, _, rows, columns = crop.box(width, height, rng(seed))
    ratio = min(rows / 48, columns / 64) / room
    assert shrink in (1, 2, 4, 8) and (shrink == 1 or ratio >= shrink)
    assert shrink == 8 or ratio < 2 * shrink


def test_the_least_reduction_of_all_views_counts_and_others_need_all(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(jpeg(picture()))
    whole = dict(type="RandomResizedCrop", size=30, scale=(1.0, 1.0), ratio=(4 / 3, 4 / 3))
    large = dict(whole, size=140)
    for views, expected in (
        ([whole], 8), ([whole, large], 2), ([dict(type="Resize", size=30), whole], 1),
        ([dict(type="ColorJitter"), whole], 1),
    ):  # fmt: skip
        entries = [dict(transforms=[view]) for view in views]
        if expected == 1:
            entries = [dict(transforms=views)]
        _, image = views_of(path, entries, 1.0, 0)
        assert (image.shrink if isinstance(image, Reduced) else 1) == expected
    Image.open(path).save(tmp_path / "x.png")
    _, image = views_of(tmp_path / "x.png", [dict(transforms=[whole])], 1.0, 0)
    assert isinstance(image, np.ndarray)


def test_a_mirrored_reduced_image_is_mirrored_about_its_middle() -> None:
    image = encoded(jpeg(picture()[:101, :203])).decode(8)
    assert isinstance(image, Reduced)
    turned = RandomFlip(1.0)(image, rng(0))
    assert isinstance(turned, Reduced) and turned.left == 26 - 203 / 8 and turned.size == (203, 101)
    assert RandomFlip(1.0)(turned, rng(0)).left == 0


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="LoadImage.backend='cv2' is unknown"):
        LoadImage(backend="cv2")
    with pytest.raises(ValueError, match="needs backend='opencv'"):
        LoadImage(reduce=1.5)
    with pytest.raises(ValueError, match="must be at least 1"):
        LoadImage(backend="opencv", reduce=0.5)
    assert InterpolationMode.BICUBIC in arrays.VECTORISED


def test_the_config_for_the_device_splits_the_recipe() -> None:
    path = "mocov3/fast/mocov3_vit-small_device-augment-32xb128-cosine-300e_in1k.py"
    config = read_config(str(CONFIGS / path))
    load, multi, _ = config.train_dataloader.dataset.pipeline
    assert load == dict(type="LoadImage", backend="opencv", reduce=1.5)
    crops = [view["transforms"] for view in multi["views"] for _ in range(view.get("num", 1))]
    device = [view["transforms"] for view in config.model.data_preprocessor.augment.views]
    joined = [[*one, *other] for one, other in zip(crops, device, strict=True)]
    assert [(one[0]["size"], one[0]["of_image"]) for one in joined] == [(224, 1.0)] * 2
    follows = ("size", "of_image")
    written = [
        [{key: value for key, value in step.items() if key not in follows} for step in one]
        for one in joined
    ]
    assert written == [MOCOV3.view1, MOCOV3.view2]
    assert len(MultiView(multi["views"]).pipelines) == 2
