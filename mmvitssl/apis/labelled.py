"""What the features of a checkpoint are worth on a folder of labelled images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mmvitssl.apis.embedding import load
from mmvitssl.apis.sources import class_folders, open_source
from mmvitssl.evaluation.knn import knn_accuracy, linear_accuracy

EVERY = 5  # one image in so many of a class is a query
NEIGHBOURS = (1, 5, 10, 20)


def split(labels: np.ndarray) -> np.ndarray:
    """(N,) whether an image is a query: every fifth of its class, the second of small classes."""
    queries = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        queries[members[1::EVERY]] = True
    return queries


def folder_accuracies(
    folder: str | Path,
    checkpoint: str | Path,
    linear: bool = False,
    device: str | None = None,
    source: str | None = None,
) -> dict[str, float]:
    """Top-1 accuracies in [0, 1] of queries by the rest of the images: ``knn_K`` and ``linear``.

    Args:
        folder: with one sub-folder per class, of two images at least.
        checkpoint: which describes its encoder.
        linear: whether to fit logistic regression too.
        device: where the encoder runs; None: on the GPU if there is one.
        source: which encoder of the checkpoint; None: what :func:`load` takes.

    Raises:
        ValueError: the folder has no class folders, or fewer than two.
    """
    images = open_source(folder)
    if not class_folders(images):
        raise ValueError(
            f"{folder} has no class folders: nearest neighbours need two or more sub-folders, one "
            f"per class, of two images or more each, and no images beside them."
        )
    found = load(checkpoint, device=device, source=source).embed_source(images)
    for name, why in found.broken.items():
        print(f"left out: {name}: {why}")
    names = [Path(name).relative_to(images.path).parts[0] for name in found.names]
    classes = {name: number for number, name in enumerate(sorted(set(names)))}
    labels = np.array([classes[name] for name in names])
    queries = split(labels)
    print(
        f"{len(classes)} classes; {int((~queries).sum())} images to compare with, "
        f"{int(queries.sum())} queries"
    )
    values = torch.from_numpy(found.values)
    targets = torch.from_numpy(labels)
    bank, asked = torch.from_numpy(~queries), torch.from_numpy(queries)
    data = (values[bank], targets[bank], values[asked], targets[asked])
    most = int(bank.sum())
    ks = sorted({min(k, most) for k in NEIGHBOURS})
    result = {f"knn_{k}": value for k, value in knn_accuracy(*data, ks).items()}
    if linear:
        result["linear"] = linear_accuracy(*data)
    return result
