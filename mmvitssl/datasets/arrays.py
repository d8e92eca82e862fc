"""torchvision's operations for PIL images, by the same names, on (H, W, C) uint8 arrays.

They give Pillow's pixels to within rounding, in a fraction of its time: Pillow blends, rotates hues
and blurs without vector instructions. Geometry, blur, brightness and contrast take any number of
channels; what is about colour needs three, and leaves one as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torchvision.transforms import functional as F
from torchvision.transforms.functional import InterpolationMode

from mmvitssl.datasets.decode import Reduced, flipped

VECTORISED = (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC)
# Pillow cuts fractions off where OpenCV rounds; a little less than a half keeps whole numbers
CUT = -0.499
BOXES = 3  # passes of Pillow's GaussianBlur


def _pillow_resize(
    image: np.ndarray,
    size: Sequence[int],
    interpolation: InterpolationMode,
    box: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    """Resize a box of (H, W, C) to (height, width) with Pillow."""
    resample = F.pil_modes_mapping[interpolation]

    def resized(part: np.ndarray) -> np.ndarray:
        return np.array(Image.fromarray(part).resize((size[1], size[0]), resample, box=box))

    if image.shape[2] == 3:
        return resized(image)
    bands = [np.ascontiguousarray(image[..., i]) for i in range(image.shape[2])]
    return np.stack([resized(band) for band in bands], axis=2)


def _resample(
    image: np.ndarray, size: Sequence[int], interpolation: InterpolationMode
) -> np.ndarray:
    if interpolation not in VECTORISED:
        return _pillow_resize(image, size, interpolation)
    # channels-last strides, for which torch has vector instructions
    channels_first = torch.from_numpy(image[None]).permute(0, 3, 1, 2)
    resized = interpolate(channels_first, size=list(size), mode=interpolation.value, antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def resize(image: np.ndarray, size: Sequence[int], interpolation: InterpolationMode) -> np.ndarray:
    """Resize with anti-aliasing to (height, width), or the shorter side to (side,)."""
    if len(size) == 1:
        height, width = image.shape[:2]
        long = int(size[0] * max(height, width) / min(height, width))
        size = (size[0], long) if height <= width else (long, size[0])
    return _resample(image, size, interpolation)


def resized_crop(
    image: np.ndarray | Reduced,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Sequence[int],
    interpolation: InterpolationMode,
) -> np.ndarray:
    """Cut a box out and resize it to (height, width); the box is one of the full-size image."""
    if isinstance(image, Reduced):
        pixels, box = image.cut(top, left, height, width)
        return _pillow_resize(pixels, size, interpolation, box)
    return _resample(image[top : top + height, left : left + width], size, interpolation)


def center_crop(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Cut (height, width) out of the middle, black where the image is smaller."""
    cut = F.center_crop(torch.tensor(image).permute(2, 0, 1), list(size))
    return np.ascontiguousarray(cut.permute(1, 2, 0).numpy())


def hflip(image: np.ndarray | Reduced) -> np.ndarray | Reduced:
    """Mirror left to right."""
    if isinstance(image, Reduced):
        return image.turned(False, True, False)
    return flipped(image, 1)


def check_colour(operation: str, channels: int) -> None:
    """Refuse an operation on colour for images that have neither one nor three channels.

    Raises:
        ValueError: names the operation.
    """
    if channels not in (1, 3):
        raise ValueError(
            f"{operation} needs RGB images, or grey ones, which it leaves as they are; these have "
            f"{channels} channels: take it out of the pipeline. ColorJitter's brightness and "
            f"contrast, blur, solarisation, flips and crops take any number of channels."
        )


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def rgb_to_grayscale(image: np.ndarray, num_output_channels: int = 3) -> np.ndarray:
    """Luma (ITU-R 601-2) in all three channels; a single channel stays as it is."""
    check_colour("RandomGrayscale", image.shape[2])
    if image.shape[2] == 1:
        return image
    return cv2.cvtColor(_grey(image), cv2.COLOR_GRAY2RGB)


def solarize(image: np.ndarray, threshold: int) -> np.ndarray:
    """Invert the values from ``threshold`` on."""
    values = np.arange(256)
    table = np.where(values < threshold, values, 255 - values).astype(np.uint8)
    return cv2.LUT(image, table).reshape(image.shape)


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with black."""
    return cv2.addWeighted(image, factor, image, 0.0, CUT).reshape(image.shape)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the mean of the luma; of all values where there are not three channels."""
    grey = _grey(image) if image.shape[2] == 3 else image
    mean = int(float(grey.mean(dtype=np.float64)) + 0.5)
    blended = cv2.addWeighted(image, factor, image, 0.0, mean * (1 - factor) + CUT)
    return blended.reshape(image.shape)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the luma; a single channel stays as it is."""
    check_colour("ColorJitter with saturation", image.shape[2])
    if image.shape[2] == 1:
        return image
    return cv2.addWeighted(image, factor, rgb_to_grayscale(image), 1 - factor, CUT)


def adjust_hue(image: np.ndarray, factor: float) -> np.ndarray:
    """Turn hues by ``factor`` of the circle, in HSV of 8 bits; a single channel has none."""
    check_colour("ColorJitter with hue", image.shape[2])
    if image.shape[2] == 1:
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    turn = np.uint8(round(factor * 256) % 256)
    np.add(hsv[..., 0], turn, out=hsv[..., 0])  # wraps round
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def blur_kernel(sigma: float | np.ndarray, radius: int) -> np.ndarray:
    """The one kernel that Pillow's passes of a box with fractional ends amount to.

    Its variance is ``sigma`` squared exactly, also where a sampled Gaussian's is far from it
    (Gwosdek et al., 2011, section 2.2, equations 9 to 11).

    Args:
        sigma: standard deviation in pixels, a number or (B,).
        radius: pixels on each side of the kernel, at least :func:`blur_radius` of all.

    Returns:
        (2 * radius + 1,) or (B, 2 * radius + 1), each of sum 1.
    """
    variance = np.asarray(sigma, dtype=np.float64)[..., None] ** 2 / BOXES
    whole = np.floor((np.sqrt(12 * variance + 1) - 1) / 2)
    end = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
    end = end / (6 * (variance - (whole + 1) ** 2))
    place = np.abs(np.arange(-radius, radius + 1))
    box = np.where(place <= whole, 1.0, np.where(place == whole + 1, end, 0.0))
    box = box / box.sum(-1, keepdims=True)
    # passes multiply in the frequency domain, and nothing wraps round within this radius
    spectrum = np.fft.rfft(np.fft.ifftshift(box, axes=-1)) ** BOXES
    return np.fft.fftshift(np.fft.irfft(spectrum, n=2 * radius + 1), axes=-1)


def blur_radius(sigma: float) -> int:
    """Pixels on each side of the kernel of :func:`blur_kernel`."""
    whole = int((np.sqrt(12 * sigma**2 / BOXES + 1) - 1) // 2)
    return BOXES * (whole + 1)


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Pillow's Gaussian blur; the image's edges are repeated."""
    kernel = blur_kernel(sigma, blur_radius(sigma))
    blurred = cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    return blurred.reshape(image.shape)
