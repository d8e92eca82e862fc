"""Depths, value ranges and channels of image files, and their orientation."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmvitssl.datasets import ImageFolder, LoadImage, values
from mmvitssl.datasets.decode import EncodedImage
from mmvitssl.datasets.files import BrokenImageError
from mmvitssl.datasets.values import guess_range, select_channels, to_eight_bits

DTYPES = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64]
RAMP = np.linspace(0, 1, 60 * 40).reshape(40, 60)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged, by a process that has logged nothing yet."""
    logged: list[str] = []
    monkeypatch.setattr(values, "print_log", lambda message, **_: logged.append(message))
    monkeypatch.setattr(values, "_ranges", {})
    monkeypatch.setattr(values, "_counts", {})
    return logged


def bands(number: int, scale: float, dtype: Any) -> np.ndarray:
    """(40, 60, number): every band another picture."""
    parts = [np.roll(RAMP, 7 * i, axis=1) ** (1 + i) for i in range(number)]
    return (np.stack(parts, -1) * scale).astype(dtype)


def write(path: Path, image: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, image)
    elif path.suffix == ".png":
        order = [2, 1, 0, 3][: image.shape[2]] if image.shape[2] > 2 else [0]
        cv2.imwrite(str(path), np.ascontiguousarray(image[..., order]))
    elif image.shape[2] == 1:
        tifffile.imwrite(path, image[..., 0])
    else:
        tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig")
    return path


def decoded(path: Path, **options: Any) -> np.ndarray:
    return EncodedImage(str(path), **options).decode()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DTYPES), st.integers(1, 6), st.data())
def test_a_stated_range_is_linear_for_every_type_and_number_of_channels(
    dtype: Any, channels: int, data: Any
) -> None:
    info = np.finfo(np.float32) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    low = data.draw(st.integers(max(int(info.min), -70000), min(int(info.max), 60000) - 50))
    high = data.draw(st.integers(low + 40, min(int(info.max), 70000)))
    image = np.linspace(low, high, 24 * channels).reshape(4, 6, channels).astype(dtype)
    pixels = to_eight_bits(image, (low, high), "x", channels)
    expected = (image.astype(np.float64) - low) / (high - low) * 255
    assert pixels.dtype == np.uint8 and pixels.shape == image.shape
    assert np.abs(pixels - expected.clip(0, 255)).max() <= 0.5 + 1e-6
    assert pixels.min() == 0 and pixels.max() == 255


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(range(8, 17, 2)), st.booleans(), st.sampled_from([0.6, 1.0]))
def test_a_guess_is_the_least_usual_range_and_no_single_pixel_moves_it(
    bits: int, signed: bool, brightest: float
) -> None:
    dtype = np.int32 if signed else np.uint16
    top = (2**bits - 1) * brightest
    image = (RAMP * top).astype(dtype)
    if signed:
        image = image - np.int32(top // 2)
        image *= 2
    expected = (-(2.0**bits), 2.0**bits) if signed else (0.0, 2.0**bits - 1)
    assert guess_range(image) == expected
    for outlier in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        changed = image.copy()
        changed[3, 5] = outlier
        assert guess_range(changed) == expected


def test_floating_point_images_and_tiny_ones() -> None:
    assert guess_range(RAMP.astype(np.float32)) == (0, 1)
    assert guess_range(RAMP * 2 - 1) == (-1, 1)
    assert guess_range(RAMP * 255) == (0, 255)
    spoilt = RAMP.copy()
    spoilt[0, 0] = 300
    assert guess_range(spoilt) == (0, 1)
    for size in (1, 2, 3):
        assert guess_range(np.full((1, size), 3000, np.uint16)) == (0, 4095)


FILES = [
    (".png", np.uint16, 1, 65535), (".png", np.uint16, 3, 4095), (".png", np.uint16, 4, 4095),
    (".tif", np.uint8, 1, 255), (".tif", np.uint8, 4, 255), (".tif", np.uint8, 6, 255),
    (".tif", np.uint16, 1, 4095), (".tif", np.uint16, 3, 4095), (".tif", np.uint16, 5, 4095),
    (".tif", np.int16, 1, 2000), (".tif", np.int16, 2, 2000), (".tif", np.uint32, 1, 4e9),
    (".tif", np.int8, 1, 100), (".tif", np.float32, 1, 1), (".tif", np.float32, 3, 1),
    (".tif", np.float64, 1, 1), (".npy", np.float32, 2, 1), (".npy", np.uint8, 3, 255),
    (".npy", np.int16, 7, 2000), (".npy", np.float16, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "dtype", "channels", "top"), FILES)
def test_files_of_every_depth_keep_their_bands(
    suffix: str, dtype: Any, channels: int, top: float, tmp_path: Path, warnings: list[str]
) -> None:
    image = bands(channels, top, dtype)
    path = write(tmp_path / f"x{suffix}", image)
    pixels = decoded(path, channels=channels, value_range=(0, top))
    assert pixels.shape == image.shape and pixels.flags.writeable
    assert np.abs(pixels - image.astype(np.float64) / top * 255).max() <= 0.51
    assert warnings == []
    again = EncodedImage("x", BytesIO(path.read_bytes()), channels, (0, top)).decode()
    assert np.array_equal(again, pixels)


def test_what_is_guessed_or_lost_is_logged(tmp_path: Path, warnings: list[str]) -> None:
    path = write(tmp_path / "x.png", bands(1, 4095, np.uint16))
    assert decoded(path).max() == 255 and decoded(path).shape == (40, 60, 3)
    (guess,) = warnings
    assert "x.png has uint16 values" in guess and "LoadImage.value_range=(0, 4095)" in guess
    other = write(tmp_path / "y.png", bands(1, 60000, np.uint16))
    decoded(other)
    assert "(0, 65535)" in warnings[1] and "x.png was scaled by another range" in warnings[1]
    for wrong in ((0, 65535 * 4), (0, 255)):  # 12 bits taken for 18 and for 8
        warnings.clear()
        decoded(path, value_range=wrong)
        assert "x.png: nearly all levels are lost" in warnings[0]
    warnings.clear()
    eight = tmp_path / "z.png"
    Image.fromarray(bands(3, 255, np.uint8)).save(eight)
    decoded(eight)
    assert warnings == []
    decoded(eight, value_range=(0, 4095))
    assert "z.png: nearly all levels are lost" in warnings[0]


def test_a_band_that_is_left_out_is_logged_and_others_are_refused(
    tmp_path: Path, warnings: list[str]
) -> None:
    image = bands(4, 255, np.uint8)
    path = tmp_path / "nir.tif"
    tifffile.imwrite(path, image, photometric="rgb", extrasamples=["unspecified"])
    assert np.array_equal(decoded(path), image[..., :3])
    assert "nir.tif has four channels" in warnings[0] and "channels=4" in warnings[0]
    assert np.array_equal(decoded(path, channels=4), image)
    tifffile.imwrite(path, image, photometric="rgb", extrasamples=["unassalpha"])
    opacity = image[..., 3:] / 255
    white = image[..., :3] * opacity + 255 * (1 - opacity)
    assert np.abs(decoded(path) - white).max() <= 1
    assert np.array_equal(decoded(path, channels=4), image)
    six = write(tmp_path / "six.tif", bands(6, 255, np.uint8))
    with pytest.raises(BrokenImageError, match=r"six.tif .*has 6 channel.*set channels=6.*in_ch"):
        decoded(six)
    photo = tmp_path / "photo.jpg"
    Image.fromarray(image[..., :3]).save(photo)
    with pytest.raises(BrokenImageError, match=r"photo.jpg .*has 3 channel.*LoadImage.channels=4"):
        decoded(photo, channels=4)
    turned = tmp_path / "first.npy"
    np.save(turned, np.zeros((3, 40, 60), np.uint8))
    with pytest.raises(BrokenImageError, match=r"first.npy .*channels come last"):
        decoded(turned)
    np.save(turned, np.full((40, 60), np.nan, np.float32))
    with pytest.raises(BrokenImageError, match=r"first.npy .*2400 of its values are not finite"):
        decoded(turned)


def test_grey_is_the_luma_of_colours_in_both_backends(tmp_path: Path) -> None:
    image = bands(3, 255, np.uint8)
    for name, tolerance in (("x.png", 1), ("x.jpg", 1)):
        Image.fromarray(image).save(tmp_path / name, quality=95)
        results = {"path": str(tmp_path / name)}
        expected = np.asarray(Image.open(tmp_path / name).convert("L"), np.float64)
        pillow = LoadImage(channels=1)(dict(results))["image"]
        array = LoadImage(backend="opencv", channels=1)(dict(results))["image"]
        assert pillow.mode == "L" and array.shape == (40, 60, 1)
        assert np.abs(np.asarray(pillow) - expected).max() <= tolerance
        assert np.abs(array[..., 0] - expected).max() <= tolerance
    assert np.array_equal(select_channels(image[..., :1], 3, False, "x")[..., 2], image[..., 0])


TURNED = {
    1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1), 6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1), 8: lambda x: x.swapaxes(0, 1)[::-1],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "deep.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_every_format_is_applied_once(
    orientation: int, kind: str, tmp_path: Path
) -> None:
    image = bands(3, 255, np.uint8)
    path = tmp_path / f"x.{kind}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = dict(exif=exif, quality=98)
    if kind == "webp":
        options["lossless"] = True
    if kind == "tif":
        options = dict(tiffinfo={0x0112: orientation})
    value_range = None
    if kind == "deep.tif":
        extratags = [(0x0112, 3, 1, orientation, True)]
        tifffile.imwrite(path, image.astype(np.uint16) * 16, photometric="rgb", extratags=extratags)
        value_range = (0, 255 * 16)
    else:
        Image.fromarray(image).save(path, **options)
    expected = TURNED[orientation](image)
    for backend in ("pillow", "opencv"):
        load = LoadImage(backend=backend, value_range=value_range)
        pixels = np.asarray(load({"path": str(path)})["image"])
        assert pixels.shape == expected.shape
        assert np.abs(pixels.astype(int) - expected).mean() < 4  # JPEG is not exact
    encoded = EncodedImage(str(path), value_range=value_range)
    assert encoded.size == expected.shape[1::-1]


def test_impossible_settings_are_refused() -> None:
    for wrong in ((1, 1), (3, 2), (0,), (0, float("inf"))):
        with pytest.raises(ValueError, match="LoadImage.value_range"):
            LoadImage(value_range=wrong)
    with pytest.raises(ValueError, match="LoadImage.channels=0"):
        LoadImage(channels=0)


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_a_pipeline_of_other_channels(channels: int, tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.tif", bands(channels, 4095, np.uint16))
    crops: list[dict[str, Any]] = [
        dict(type="RandomResizedCrop", size=16, interpolation="bicubic"),
        dict(type="ColorJitter", brightness=0.4, contrast=0.4),
        dict(type="GaussianBlur"), dict(type="Solarize"), dict(type="RandomFlip", p=1.0),
    ]  # fmt: skip
    for backend in ("pillow", "opencv"):
        load = dict(type="LoadImage", backend=backend, channels=channels, value_range=(0, 4095))
        rest = [dict(type="MultiView", views=[dict(transforms=crops)]), dict(type="PackViews")]
        view = ImageFolder(str(tmp_path), [load, *rest])[1]["views"][0]
        assert tuple(view.shape) == (channels, 16, 16) and len(view.unique()) > 16
    for transform in (dict(type="ColorJitter", hue=0.1), dict(type="RandomGrayscale", p=1.0),
                      dict(type="RandAugment", size=16)):  # fmt: skip
        rest[0] = dict(type="MultiView", views=[dict(transforms=[transform])])
        data = ImageFolder(str(tmp_path), [load, *rest])
        if channels == 1 and transform["type"] != "RandAugment":
            assert tuple(data[0]["views"][0].shape) == (1, 40, 60)  # grey has no colour to change
        else:
            with pytest.raises(ValueError, match=rf"{transform['type']}.*{channels} channels"):
                data[0]
