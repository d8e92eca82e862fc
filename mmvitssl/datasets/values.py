"""From the values of an image file to 8 bits per channel: value ranges and channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.logging import print_log
from PIL import Image

BITS = (*range(8, 33, 2),)  # depths that are guessed: cameras and scanners have 10, 12 or 14 bits
FEW = 32  # an image with no more levels than this has lost nearly all, if its file has many
RARE = 1000  # one pixel of this many does not change the guess
WARNINGS = 5  # of one kind that a process logs
ALPHA = {"LA": "L", "RGBA": "RGB"}
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")

_ranges: dict[tuple[float, float], str] = {}  # that were guessed, and the first image of each
_counts: dict[str, int] = {}


def _warn(kind: str, message: str) -> None:
    """Log a warning, unless this process has logged enough of its kind."""
    _counts[kind] = _counts.get(kind, 0) + 1
    if _counts[kind] <= WARNINGS:
        last = " (not logged again)" if _counts[kind] == WARNINGS else ""
        print_log(message + last, logger="current", level=30)


def check_range(owner: str, value_range: Sequence[float] | None) -> tuple[float, float] | None:
    """``value_range`` as (low, high); None stays None.

    Raises:
        ValueError: not two finite numbers, the lower one first.
    """
    if value_range is None:
        return None
    pair = tuple(float(value) for value in value_range)
    if len(pair) != 2 or not np.isfinite(pair).all() or not pair[0] < pair[1]:
        raise ValueError(
            f"{owner}.value_range={value_range} must be (low, high): the values of the files that "
            f"become black and white, such as (0, 4095) for 12 bits."
        )
    return pair[0], pair[1]


def guess_range(values: np.ndarray) -> tuple[float, float]:
    """The usual range that holds all but a few values.

    Up to one value of a thousand at each end, and at least one, is not looked at, so that no single
    pixel decides.

    Args:
        values: finite, of any shape.

    Returns:
        (0, 1) or (-1, 1) for floating-point values that fit; (0, 2^k - 1), or (-2^k, 2^k) where
        some are negative, with the least k of 8, 10, 12, ... otherwise.
    """
    flat = values.reshape(-1)
    few = min(max(1, flat.size // RARE), (flat.size - 1) // 2)
    ends = np.partition(flat, (few, flat.size - 1 - few))
    low, high = float(ends[few]), float(ends[flat.size - 1 - few])
    if values.dtype.kind == "f" and low >= -1 and high <= 1:
        return (0.0 if low >= 0 else -1.0), 1.0
    greatest = max(high, -low)
    bits = next((k for k in BITS if greatest <= 2.0**k - (low >= 0)), None)
    if bits is None:
        return min(low, 0.0), high
    return (-(2.0**bits), 2.0**bits) if low < 0 else (0.0, 2.0**bits - 1)


def _say_guess(guess: tuple[float, float], dtype: np.dtype, path: str) -> None:
    if guess in _ranges:
        return
    differ = ""
    if _ranges:
        other, first = next(iter(_ranges.items()))
        differ = (
            f" {first} was scaled by another range, {_text(*other)}: the brightness of the two "
            f"cannot be compared."
        )
    _ranges[guess] = path
    _warn(
        "guess",
        f"{path} has {dtype} values and no value range is set: {_text(*guess)} becomes 0 to 255, "
        f"a guess by the image's own values. Set LoadImage.value_range={_text(*guess)}, or what "
        f"your data have.{differ}",
    )


def _text(low: float, high: float) -> str:
    return f"({low:.12g}, {high:.12g})"


def to_eight_bits(
    values: np.ndarray, value_range: tuple[float, float] | None, path: str, colours: int
) -> np.ndarray:
    """Scale the values of a file to uint8.

    Args:
        values: (H, W, B) of any number type.
        value_range: what becomes 0 and 255, values beyond are cut off; None: as they are for
            uint8, guessed for others, with a warning.
        path: names the image in messages.
        colours: how many of the bands a guess looks at; an alpha channel comes after them.

    Returns:
        (H, W, B) uint8.

    Raises:
        ValueError: values that are no numbers, or not finite.
    """
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "uif":
        raise ValueError(f"its values are {values.dtype}, not real numbers")
    if values.dtype == np.uint8 and value_range in (None, (0.0, 255.0)):
        return values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of its values are not finite")
    if value_range is None:
        value_range = guess_range(values[..., :colours])
        _say_guess(value_range, values.dtype, path)
    low, high = value_range
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    pixels = scaled.round().clip(0, 255).astype(np.uint8)
    _check_levels(values[..., :colours], pixels[..., :colours], scaled[..., :colours], path)
    return pixels


def _check_levels(values: np.ndarray, pixels: np.ndarray, scaled: np.ndarray, path: str) -> None:
    """Warn if nearly all levels of an image are lost."""
    outside = float(((scaled < -0.5) | (scaled > 255.5)).mean())
    kept = int(np.count_nonzero(np.bincount(pixels.reshape(-1), minlength=256)))
    if outside <= 0.5 and kept > FEW:
        return
    levels = len(np.unique(values))
    if outside > 0.5 or levels >= 4 * kept:
        _warn(
            "levels",
            f"{path}: nearly all levels are lost: {levels} values from {values.min():g} to "
            f"{values.max():g} become {kept}, and {outside:.0%} of them lie outside the value "
            f"range. Set LoadImage.value_range to the range of your data.",
        )


def _mismatch(bands: int, channels: int) -> ValueError:
    return ValueError(
        f"it has {bands} channel(s) and LoadImage.channels={channels}: set channels={bands}, with "
        f"as many in the encoder's in_channels and in the preprocessor's mean and std"
    )


def select_channels(pixels: np.ndarray, channels: int, alpha: bool, path: str) -> np.ndarray:
    """(H, W, B) uint8 -> (H, W, channels).

    As many channels as the file has are left as they are. Otherwise: grey is repeated for three,
    colours become their luma (ITU-R 601-2) for one, transparent pixels become white. Of four
    channels of which none is alpha, three are read, with a warning.

    Args:
        pixels: of a file.
        channels: that are wanted.
        alpha: whether the last band is transparency.
        path: names the image in messages.

    Raises:
        ValueError: any other number of bands.
    """
    bands = pixels.shape[2]
    if bands == channels:
        return pixels
    if alpha and bands in (2, 4) and channels in (1, 3):
        colours = pixels[..., : bands - 1].astype(np.float64)
        opacity = pixels[..., bands - 1 :].astype(np.float64) / 255
        pixels = (colours * opacity + 255 * (1 - opacity)).round().astype(np.uint8)
        return select_channels(pixels, channels, False, path)
    if (bands, channels) == (1, 3):
        return np.repeat(pixels, 3, axis=2)
    if (bands, channels) == (3, 1):
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    if (bands, channels) == (4, 3):
        _warn(
            "bands",
            f"{path} has four channels, of which the last is left out. To read it, set "
            f"LoadImage.channels=4, with as many in the encoder's in_channels and in the "
            f"preprocessor's mean and std.",
        )
        return np.ascontiguousarray(pixels[..., :3])
    raise _mismatch(bands, channels)


def to_rgb(image: Image.Image) -> Image.Image:
    """An 8-bit image of any mode as RGB: transparent pixels become white."""
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(canvas, image)
    return image.convert("RGB")


def eight_bit_channels(image: Image.Image, channels: int, path: str) -> np.ndarray:
    """(H, W, channels) uint8 of a Pillow image of an 8-bit mode; see :func:`select_channels`."""
    if channels in (1, 3):
        if image.mode in ("1", "L") and "transparency" not in image.info:
            grey = np.asarray(image.convert("L"))[..., None]
            return select_channels(grey, channels, False, path)
        return select_channels(np.asarray(to_rgb(image)), channels, False, path)
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("LA" if channels == 2 and image.mode == "L" else "RGBA")
    pixels = np.asarray(image)
    return select_channels(np.atleast_3d(pixels), channels, False, path)
