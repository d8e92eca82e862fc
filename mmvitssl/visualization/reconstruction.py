"""Reconstructions of a pretrained model as picture files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmvitssl.datasets.multiview import LoadImage, to_tensor
from mmvitssl.datasets.transforms import CenterCrop, Resize, extent
from mmvitssl.models.algorithms.pretrainer import Pretrainer, draw_pictures
from mmvitssl.models.display import displayed
from mmvitssl.models.targets import TokenTarget
from mmvitssl.visualization.attention import attention_pictures
from mmvitssl.visualization.sheets import captioned
from mmvitssl.writing import whole


def view_sizes(model: Pretrainer) -> list[tuple[int, int]]:
    """Height and width of every view that the tasks of a model read.

    Views are as large as the encoder's position table; tokenizers get a pixel grid that gives a
    token a patch.
    """
    spec = model.encoder.spec
    whole = spec.image_size
    sizes: dict[int, tuple[int, int]] = {}
    for _, task in model.named_tasks():
        for view in getattr(task, "views", (getattr(task, "view", 0),)):
            sizes.setdefault(view, whole)
        target = getattr(task, "target", None)
        if isinstance(target, TokenTarget):
            stride = target.tokenizer(torch.device("cpu")).stride
            sizes[target.view] = (spec.grid[0] * stride, spec.grid[1] * stride)
    return [sizes.get(i, whole) for i in range(max(sizes) + 1)]


def load_views(
    paths: Sequence[str | Path],
    sizes: Sequence[tuple[int, int]],
    load: LoadImage | None = None,
) -> list[Tensor]:
    """The middle of each image at each size: (B, C, H_v, W_v) uint8 per view.

    Args:
        paths: the images.
        sizes: height and width of each view.
        load: decodes the images; None: to RGB.

    Raises:
        BrokenImageError: a file cannot be decoded; the message names it.
    """
    load, rng = load or LoadImage(), np.random.default_rng()
    views: list[list[Tensor]] = [[] for _ in sizes]
    for path in paths:
        image = load({"path": str(path)})["image"]
        for view, size in zip(views, sizes, strict=True):
            width, height = extent(image)
            scale = max(size[0] / height, size[1] / width)
            enlarged = (max(round(height * scale), size[0]), max(round(width * scale), size[1]))
            resized = Resize(enlarged, "bicubic")(image, rng)
            view.append(to_tensor(CenterCrop(size)(resized, rng)))
    return [torch.stack(view) for view in views]


def load_batch(
    model: Pretrainer, paths: Sequence[str | Path], seed: int = 0, load: LoadImage | None = None
) -> dict[str, Any]:
    """Some images as a collated batch of a model, whose masks ``seed`` draws.

    Args:
        model, paths, seed, load: see :func:`draw_reconstructions`.
    """
    model.seed = seed
    number = torch.arange(len(paths))
    samples = {"index": number, "epoch": torch.zeros_like(number)}
    load = load or LoadImage(channels=model.encoder.spec.in_channels)
    return {"views": load_views(paths, view_sizes(model), load), "samples": samples}


def _pictures(model: Pretrainer, data: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Each task's pictures of some images."""
    return {task: found for task, found in draw_pictures(model, data).items() if found}


def _attention(model: Pretrainer, data: dict[str, Any]) -> Tensor:
    """(B, 3, H, W) the class token's attention over the first view."""
    view = model.data_preprocessor(data, False)["views"][0]
    encoder = model.get_submodule("encoder")
    return attention_pictures(encoder, view.pixels, view.images)["attention"]


def draw_comparison(
    models: Mapping[str, Pretrainer],
    paths: Sequence[str | Path],
    out: str | Path,
    seed: int = 0,
    attention: bool = False,
) -> Path:
    """Write one sheet with the pictures of several methods of the same images.

    Args:
        models: pretraining models with their weights, by the name above their columns.
        paths: images, one row each.
        out: the PNG to write.
        seed: of the masks.
        attention: whether to add the class token's attention (RePre, figure 4).

    Raises:
        ValueError: no task of a model draws pictures, or an encoder has no attention maps.
    """
    batches = {name: load_batch(model, paths, seed) for name, model in models.items()}
    drawn = {name: _pictures(model, batches[name]) for name, model in models.items()}
    silent = [name for name, tasks in drawn.items() if not tasks]
    if silent and not attention:
        raise ValueError(
            f"No task draws pictures: {', '.join(silent)}. --attention draws where the class token "
            f"looks."
        )
    for name, model in models.items() if attention else ():
        seen = displayed(batches[name]["views"][0].float() / 255)
        drawn[name]["encoder"] = {"original": seen, "attention": _attention(model, batches[name])}
    tables = [table for tasks in drawn.values() for table in tasks.values()]
    side = max(max(picture.shape[-2:]) for table in tables for picture in table.values())
    columns: dict[str, Tensor] = {}
    for name, tasks in drawn.items():
        for task, table in tasks.items():
            for caption, picture in table.items():
                several = len(tasks) > 1 + attention
                words = f"{name} {task} {caption}" if several else f"{name} {caption}"
                key = "original" if caption == "original" else words
                columns.setdefault(key, F.interpolate(picture.float(), (side, side)))
    path = Path(out)
    with whole(path) as part:
        captioned(columns, rows=len(paths)).save(part)
    return path


def draw_reconstructions(
    model: Pretrainer,
    paths: Sequence[str | Path],
    out: str | Path,
    seed: int = 0,
    load: LoadImage | None = None,
) -> list[Path]:
    """Write a picture of all images for each task.

    Args:
        model: a pretraining model with its weights.
        paths: images.
        out: folder for ``<task>.png``.
        seed: of the masks.
        load: decodes the images as for training; None: to the encoder's channels.

    Returns:
        the files.

    Raises:
        ValueError: no task of the model draws pictures.
    """
    written = []
    for task, pictures in _pictures(model, load_batch(model, paths, seed, load)).items():
        path = Path(out) / f"{task}.png"
        with whole(path) as part:
            captioned(pictures, rows=len(paths)).save(part)
        written.append(path)
    if not written:
        raise ValueError(f"No task of this model draws pictures: {list(model.tasks)}.")
    return written
