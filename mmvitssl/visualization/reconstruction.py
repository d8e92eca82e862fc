"""Reconstructions of a pretrained model as picture files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import functional as F

from mmvitssl.datasets.multiview import LoadImage, to_tensor
from mmvitssl.models.algorithms.pretrainer import Pretrainer, draw_pictures
from mmvitssl.models.targets import TokenTarget
from mmvitssl.visualization.sheets import captioned


def view_sizes(model: Pretrainer) -> list[tuple[int, int]]:
    """Height and width of every view that the tasks of a model read.

    Views are as large as the encoder's position table; tokenizers get a pixel grid that gives a
    token a patch.
    """
    encoder: Any = model.encoder
    whole = (encoder.grid[0] * encoder.patch_size, encoder.grid[1] * encoder.patch_size)
    sizes: dict[int, tuple[int, int]] = {}
    for _, task in model.named_tasks():
        for view in getattr(task, "views", (getattr(task, "view", 0),)):
            sizes.setdefault(view, whole)
        target = getattr(task, "target", None)
        if isinstance(target, TokenTarget):
            stride = target.tokenizer(torch.device("cpu")).stride
            sizes[target.view] = (encoder.grid[0] * stride, encoder.grid[1] * stride)
    return [sizes.get(i, whole) for i in range(max(sizes) + 1)]


def load_views(paths: Sequence[str | Path], sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """The middle of each image at each size: (B, 3, H_v, W_v) uint8 a view.

    Raises:
        BrokenImageError: a file cannot be decoded; the message names it.
    """
    load = LoadImage()
    views: list[list[Tensor]] = [[] for _ in sizes]
    for path in paths:
        image = load({"path": str(path)})["image"]
        for view, size in zip(views, sizes, strict=True):
            scale = max(size[0] / image.height, size[1] / image.width)
            enlarged = [max(round(image.height * scale), size[0]),
                        max(round(image.width * scale), size[1])]  # fmt: skip
            resized = F.resize(image, enlarged, F.InterpolationMode.BICUBIC)
            view.append(to_tensor(F.center_crop(resized, list(size))))
    return [torch.stack(view) for view in views]


def draw_reconstructions(
    model: Pretrainer, paths: Sequence[str | Path], out: str | Path, seed: int = 0
) -> list[Path]:
    """Write a picture of all images a task.

    Args:
        model: a pretraining model with its weights.
        paths: images.
        out: folder for ``<task>.png``.
        seed: of the masks.

    Returns:
        the files.

    Raises:
        ValueError: no task of the model draws pictures.
    """
    model.seed = seed
    number = torch.arange(len(paths))
    samples = {"index": number, "epoch": torch.zeros_like(number)}
    data = {"views": load_views(paths, view_sizes(model)), "samples": samples}
    written = []
    for task, pictures in draw_pictures(model, data).items():
        if pictures:
            path = Path(out) / f"{task}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            captioned(pictures, rows=len(paths)).save(path)
            written.append(path)
    if not written:
        raise ValueError(f"No task of this model draws pictures: {list(model.tasks)}.")
    return written
