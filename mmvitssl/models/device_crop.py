"""``RandomResizedCrop`` of whole batches on their device: a box per image, two matrix products."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import InterpolationMode

from mmvitssl.datasets.transforms import RandomResizedCrop

ATTEMPTS, EACH = 10, 4  # draws of a box until one fits; area, aspect, top and left
NUMBERS = ATTEMPTS * EACH
MODES = (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC)


def crop_boxes(
    transform: RandomResizedCrop, width: int, height: int, drawn: np.ndarray
) -> np.ndarray:
    """Boxes as :meth:`RandomResizedCrop.box` draws them, without a loop over images.

    Args:
        width, height: of the images.
        drawn: (B, NUMBERS) in [0, 1).

    Returns:
        (B, 4) integers: top, left, height, width.
    """
    numbers = drawn.reshape(len(drawn), ATTEMPTS, EACH)
    low, high = transform.scale
    area = width * height * (low + (high - low) * numbers[..., 0])
    narrow, wide = np.log(transform.ratio)
    aspect = np.exp(narrow + (wide - narrow) * numbers[..., 1])
    columns, rows = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    if transform.clip:
        columns, rows = columns.clip(1, width), rows.clip(1, height)
    fits = (columns > 0) & (columns <= width) & (rows > 0) & (rows <= height)
    top = np.floor(numbers[..., 2] * (height - rows + 1))
    left = np.floor(numbers[..., 3] * (width - columns + 1))
    boxes = np.stack([top, left, rows, columns], axis=2)
    first = boxes[np.arange(len(drawn)), fits.argmax(axis=1)]
    centred = np.array(transform.centred(width, height))
    return np.where(fits.any(axis=1)[:, None], first, centred).astype(np.int64)


def _kernel(distance: Tensor, mode: InterpolationMode) -> Tensor:
    """Linear, or Keys' cubic with a = -0.5, as Pillow and torch take them."""
    x = distance.abs()
    if mode is InterpolationMode.BILINEAR:
        return (1 - x).clamp_(min=0)
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, inner, torch.where(x < 2, outer, 0.0))


def resampling(
    start: Tensor, length: Tensor, extent: int, size: int, mode: InterpolationMode
) -> Tensor:
    """Weights that resize a part of a line with anti-aliasing; nothing outside the part is read.

    Args:
        start, length: (B,) of the parts, in pixels.
        extent: pixels of the line.
        size: pixels that each part becomes.

    Returns:
        (B, size, extent), rows of sum 1.
    """
    scale = (length / size).view(-1, 1, 1)
    begin, end = start.view(-1, 1, 1), (start + length).view(-1, 1, 1)
    place = torch.arange(extent, device=start.device) + 0.5
    centre = begin + scale * (torch.arange(size, device=start.device)[:, None] + 0.5)
    weights = _kernel((place - centre) / scale.clamp(min=1), mode)
    weights = weights * ((place > begin) & (place < end))
    return weights / weights.sum(2, keepdim=True)


def _levels(values: Tensor) -> Tensor:
    """Whole numbers in [0, 255], in place."""
    return values.add_(0.5).floor_().clamp_(0, 255)


def resized_crops(
    images: Tensor, boxes: Tensor, size: tuple[int, int], mode: InterpolationMode
) -> Tensor:
    """Cut a box out of each image and resize it, as the pipeline's operation does.

    Args:
        images: (B, C, H, W) float32 in [0, 255].
        boxes: (B, 4) top, left, height, width, on the device of the images.
        size: (h, w) of the results.
        mode: bilinear or bicubic.

    Returns:
        (B, C, h, w) whole numbers in [0, 255].
    """
    batch, channels, height, width = images.shape
    top, left, rows, columns = boxes.unbind(1)
    down = resampling(top, rows, height, size[0], mode)
    across = resampling(left, columns, width, size[1], mode).transpose(1, 2)
    # a product per image: channels lie side by side; the pipeline rounds after each, too
    wide = _levels(images.reshape(batch, channels * height, width) @ across)
    wide = wide.view(batch, channels, height, size[1]).transpose(1, 2).flatten(2)
    crops = _levels(down @ wide).view(batch, size[0], channels, size[1])
    return crops.transpose(1, 2).contiguous()
