"""Accuracy of nearest neighbours on a folder of labelled images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mmvitssl.apis.embedding import load
from mmvitssl.apis.sources import class_folders, open_source
from mmvitssl.evaluation.knn import knn_accuracy, linear_accuracy

EVERY = 5  # one image in so many of a class is a query
NEIGHBOURS = (1, 5, 10, 20)
HELD_OUT = ("val", "validation", "test")  # folders of queries beside a folder train


def split(labels: np.ndarray) -> np.ndarray:
    """Return (N,) whether an image is a query: every fifth of its class, from the second on."""
    queries = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        queries[members[1::EVERY]] = True
    return queries


def classify(
    folder: str | Path, parts: list[tuple[str, ...]]
) -> tuple[np.ndarray, list[str], np.ndarray | None]:
    """Read classes, and queries if there are folders of them, off the paths of images.

    Args:
        folder: what messages name.
        parts: (N) of each image, the parts of its path below the folder.

    Returns:
        (N,) bool, whether an image counts; the class of each that counts; and whether each is a
        query, or None without folders ``train`` and ``val``.

    Raises:
        ValueError: an image beside the class folders, or a class of queries that ``train`` lacks.
    """
    tops = np.array([part[0] for part in parts])
    held_out = next((name for name in HELD_OUT if name in tops), None)
    if held_out is None or "train" not in tops:
        return np.ones(len(parts), bool), tops.tolist(), None
    kept = np.isin(tops, ("train", held_out))
    chosen = [part for part, take in zip(parts, kept, strict=True) if take]
    for part in chosen:
        if len(part) < 3:
            raise ValueError(f"{folder} has {'/'.join(part)}, which is in no class folder.")
    queries = tops[kept] == held_out
    names = [part[1] for part in chosen]
    known = {name for name, asked in zip(names, queries, strict=True) if not asked}
    if unknown := sorted(set(names) - known):
        raise ValueError(f"{folder}/{held_out} has classes that train lacks: {', '.join(unknown)}.")
    return kept, names, queries


def folder_accuracies(
    folder: str | Path,
    checkpoint: str | Path,
    linear: bool = False,
    device: str | None = None,
    source: str | None = None,
) -> dict[str, float]:
    """Measure top-1 accuracies in [0, 1] of queries, ``knn_K`` and ``linear``.

    Args:
        folder: with one sub-folder per class, of two images at least; or with ``train`` and
            ``val`` (``validation``, ``test``), which have them.
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
    parts = [Path(name).relative_to(images.path).parts for name in found.names]
    kept, names, queries = classify(folder, parts)
    classes, labels = np.unique(names, return_inverse=True)
    queries = split(labels) if queries is None else queries
    print(
        f"{len(classes)} classes; {int((~queries).sum())} images to compare with, "
        f"{int(queries.sum())} queries"
    )
    values = torch.from_numpy(found.values[kept])
    targets = torch.from_numpy(labels)
    bank, asked = torch.from_numpy(~queries), torch.from_numpy(queries)
    data = (values[bank], targets[bank], values[asked], targets[asked])
    most = int(bank.sum())
    ks = sorted({min(k, most) for k in NEIGHBOURS})
    result = {f"knn_{k}": value for k, value in knn_accuracy(*data, ks).items()}
    if linear:
        result["linear"] = linear_accuracy(*data)
    return result
