"""Features of a data set in two dimensions, coloured by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from torch import Tensor
from torch.utils.data import Subset

from mmvitssl.extras import require
from mmvitssl.models.display import displayed
from mmvitssl.writing import whole

METHODS = ("tsne", "umap")
NAMED = 20  # classes that a legend can name
THUMBNAIL = 20  # points of the longer side of a thumbnail


def check_method(method: str) -> None:
    """Refuse an unknown method, or one whose library is missing.

    Raises:
        ValueError: the method is unknown.
        MissingExtraError: umap-learn is not installed.
    """
    if method not in METHODS:
        raise ValueError(f"method='{method}' is unknown; use one of {', '.join(METHODS)}.")
    if method == "umap":
        require("method 'umap'", "umap", "umap")


def choose(dataset: Any, number: int, seed: int = 0) -> tuple[Any, np.ndarray]:
    """At most so many images of a data set, drawn evenly, in order; and their indices."""
    if number < 3:
        raise ValueError(f"{number} images are no map: take at least three.")
    if len(dataset) <= number:
        return dataset, np.arange(len(dataset))
    drawn = np.random.default_rng(seed).choice(len(dataset), number, replace=False)
    indices = np.sort(drawn)
    return Subset(dataset, indices.tolist()), indices


def project(values: Tensor, method: str = "tsne", seed: int = 0) -> np.ndarray:
    """(N, C) features -> (N, 2) positions; near in cosine distance is near on the map.

    Args:
        values: at least three features.
        method: 'tsne' (scikit-learn; perplexity 30, less for few images) or 'umap' (umap-learn).
        seed: of the method.

    Raises:
        ValueError, MissingExtraError: see :func:`check_method`.
    """
    check_method(method)
    data = values.float().numpy()
    if method == "umap":
        from umap import UMAP

        neighbours = min(15, len(data) - 1)
        # its spectral start asks for more eigenvectors than a few images have
        start = "spectral" if len(data) >= 10 else "random"
        umap = UMAP(
            n_neighbors=neighbours, metric="cosine", init=start, random_state=seed, n_jobs=1
        )
        return np.asarray(umap.fit_transform(data))
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(data) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=seed)
    return np.asarray(tsne.fit_transform(data))


def colours(labels: np.ndarray) -> dict[int, Any]:
    """One colour per class: distinct ones up to twenty classes, else around the colour circle."""
    classes = sorted({int(label) for label in labels})
    if len(classes) <= 10:
        return {label: plt.get_cmap("tab10")(i) for i, label in enumerate(classes)}
    if len(classes) <= NAMED:
        return {label: plt.get_cmap("tab20")(i) for i, label in enumerate(classes)}
    return {label: plt.get_cmap("hsv")(i / len(classes)) for i, label in enumerate(classes)}


def apart(points: np.ndarray, distance: float) -> list[int]:
    """Indices of points no two of which are nearer than a distance, in order."""
    kept: list[int] = []
    for i, point in enumerate(points):
        if all(np.abs(points[j] - point).max() >= distance for j in kept):
            kept.append(i)
    return kept


@plt.rc_context({"text.parse_math": False})  # names hold no formulas
def draw_embedding(
    points: np.ndarray,
    labels: np.ndarray | None,
    out: Path,
    title: str,
    classes: Sequence[str] = (),
    pictures: dict[int, np.ndarray] | None = None,
) -> Path:
    """Write a map of features.

    Args:
        points: (N, 2).
        labels: (N,) integers; None: all points are grey.
        out: the PNG to write.
        title: above the map.
        classes: names of the classes; empty: their numbers.
        pictures: (H, W, 3) uint8 thumbnails by index of the point.
    """
    figure, axes = plt.subplots(figsize=(8.2, 6.6), dpi=110, layout="constrained")
    size = float(np.clip(4000 / len(points), 4, 30))
    shown = {} if labels is None else colours(labels)
    if labels is None:
        axes.scatter(*points.T, s=size, color="0.45", linewidths=0)
    for label, colour in shown.items():
        name = classes[label] if label < len(classes) else str(label)
        axes.scatter(
            *points[labels == label].T, s=size, color=colour, label=name, linewidths=0, alpha=0.85
        )
    for index, picture in (pictures or {}).items():
        edge = "0.3" if labels is None else shown[int(labels[index])]
        _place(axes, points[index], picture, edge)
    axes.set_title(title, fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])
    if 0 < len(shown) <= NAMED:
        figure.legend(loc="outside right upper", fontsize=9, frameon=False, markerscale=1.6)
    elif shown:
        axes.set_xlabel(f"{len(shown)} classes, a colour each", fontsize=9)
    with whole(out) as part:
        figure.savefig(part)
    plt.close(figure)
    return out


def _place(axes: Axes, point: np.ndarray, picture: np.ndarray, edge: Any) -> None:
    image = OffsetImage(picture, zoom=THUMBNAIL / max(picture.shape[:2]))
    frame = dict(edgecolor=edge, linewidth=1.6, boxstyle="square,pad=0")
    axes.add_artist(AnnotationBbox(image, tuple(point), pad=0.06, bboxprops=frame))


def thumbnails(
    dataset: Any, indices: np.ndarray, points: np.ndarray, spread: float = 0.07
) -> dict[int, np.ndarray]:
    """First views of images that do not cover each other on the map: (H, W, 3) uint8 by point.

    Args:
        dataset: gives samples of ``PackViews``.
        indices: (N,) of the points in the data set.
        points: (N, 2).
        spread: share of the map's extent that lies between two thumbnails at least.
    """
    extent = np.ptp(points, axis=0).clip(min=1e-12)
    found = {}
    for point in apart(points / extent, spread):
        view = dataset[int(indices[point])]["views"][0]
        found[point] = displayed(view[None])[0].permute(1, 2, 0).numpy()
    return found
