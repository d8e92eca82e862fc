"""CIFAR-10 on the device as uint8, and crops of whole batches there."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from gpu_study.models import Crop

PARTS = ("train", "test")
RATIO = math.log(3 / 4), math.log(4 / 3)


def data_folder(stated: str | None, candidates: list[Path]) -> Path:
    """The folder of ``cifar10_train.npz`` and ``cifar10_test.npz``.

    Args:
        stated: by the user; None: the first of ``candidates`` that has them.
        candidates: where to look.

    Raises:
        FileNotFoundError: they are not there.
    """
    folders = candidates if stated is None else [Path(stated)]
    for folder in folders:
        if all((folder / f"cifar10_{part}.npz").is_file() for part in PARTS):
            return folder
    where = ", ".join(map(str, folders))
    raise FileNotFoundError(
        f"there are no cifar10_train.npz and cifar10_test.npz in {where}: name their folder with "
        f"--data (docs/data.md describes such files of packed images)."
    )


def read_part(folder: Path, part: str, number: int) -> tuple[Tensor, Tensor]:
    """Images spread evenly over a part, whose file may be sorted by class.

    Args:
        folder: of the files.
        part: 'train' or 'test'.
        number: of images; all where there are fewer.

    Returns:
        (N, 3, 32, 32) uint8 images and (N,) long labels.
    """
    with np.load(folder / f"cifar10_{part}.npz") as file:
        jpeg, offset, label = file["jpeg"], file["offset"], file["label"]
    kept = np.linspace(0, len(label) - 1, min(number, len(label))).round().astype(int)
    encoded = (jpeg[offset[i] : offset[i + 1]].tobytes() for i in kept)
    images = np.stack([np.asarray(Image.open(BytesIO(file)).convert("RGB")) for file in encoded])
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return tensor, torch.from_numpy(label[kept].astype(np.int64))


def random_crops(images: Tensor, crop: Crop, generator: torch.Generator) -> Tensor:
    """Random resized crops, half of them mirrored, all on the images' device.

    Args:
        images: (B, 3, H, W) uint8.
        crop: their side, and the range of their areas.
        generator: of the images' device.

    Returns:
        (B, 3, side, side) uint8.
    """

    def drawn(low: float, high: float) -> Tensor:
        values = torch.rand(len(images), device=images.device, generator=generator)
        return values * (high - low) + low

    area, ratio = drawn(crop.low, crop.high), drawn(*RATIO).exp()
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    x, y = (drawn(-1, 1) * (1 - side) for side in (width, height))
    mirror = torch.where(drawn(0, 1) < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(x)
    rows = [torch.stack([width * mirror, zero, x], 1), torch.stack([zero, height, y], 1)]
    size = [len(images), 3, crop.side, crop.side]
    grid = F.affine_grid(torch.stack(rows, 1), size, align_corners=False)
    sampled = F.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return sampled.round().clamp(0, 255).to(torch.uint8)
