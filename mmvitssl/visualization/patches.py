"""What the features of single patches look like: colours of components, clusters, likeness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torchvision.transforms import functional

from mmvitssl.evaluation.features import evaluating
from mmvitssl.structures import Encoded
from mmvitssl.visualization.embedding import colours, draw_embedding, project
from mmvitssl.visualization.sheets import captioned
from mmvitssl.writing import whole


def patch_features(encoder: nn.Module, images: Tensor) -> Tensor:
    """Features of all patches after the final norm.

    Args:
        encoder: of this package.
        images: (B, C, H, W), normalised.

    Returns:
        (B, rows, columns, C'); of a hierarchical backbone the last stage's map.
    """
    with evaluating(encoder):
        encoded: Encoded = encoder(images)
    return encoded.patches.float().unflatten(1, encoded.grid)


def principal_colours(features: Tensor, tails: float = 0.02) -> Tensor:
    """The first three principal components of all patches as red, green and blue.

    Args:
        features: (B, rows, columns, C).
        tails: share of the patches at either end of a component that may be black or full.

    Returns:
        (B, 3, rows, columns) in [0, 1].
    """
    flat = features.flatten(0, 2).double()
    centred = flat - flat.mean(dim=0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    values = centred @ directions[:3].T
    if values.shape[1] < 3:
        values = F.pad(values, (0, 3 - values.shape[1]))
    low, high = values.quantile(tails, dim=0), values.quantile(1 - tails, dim=0)
    scaled = ((values - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    return scaled.float().unflatten(0, features.shape[:3]).permute(0, 3, 1, 2)


def cluster_patches(features: Tensor, number: int, seed: int = 0) -> Tensor:
    """(B, rows, columns) cluster of each patch: k-means on features of length 1.

    Args:
        features: (B, rows, columns, C).
        number: of clusters.
        seed: of the first centres.

    Raises:
        ValueError: fewer patches than clusters, or fewer than two clusters.
    """
    flat = F.normalize(features.flatten(0, 2), dim=1).numpy()
    if not 2 <= number <= len(flat):
        raise ValueError(f"clusters must be 2 to the number of patches, {len(flat)}; not {number}.")
    found = KMeans(number, random_state=seed, n_init=3).fit_predict(flat)
    return torch.from_numpy(found).long().view(features.shape[:3])


def likeness(features: Tensor, row: int, column: int) -> Tensor:
    """(B, rows, columns) cosine similarity to one patch of each image.

    Args:
        features: (B, rows, columns, C).
        row, column: of the patch.

    Raises:
        ValueError: the grid has no such patch.
    """
    rows, columns = features.shape[1:3]
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(
            f"There is no patch {row},{column}: the grid has rows 0..{rows - 1} and columns "
            f"0..{columns - 1}."
        )
    unit = F.normalize(features, dim=-1)
    return torch.einsum("bhwc,bc->bhw", unit, unit[:, row, column])


def _painted(classes: Tensor) -> Tensor:
    """(B, rows, columns) integers -> (B, 3, rows, columns) colours."""
    table = colours(np.unique(classes.numpy()))
    lookup = torch.zeros(int(classes.max()) + 1, 3)
    for number, colour in table.items():
        lookup[number] = torch.tensor(colour[:3], dtype=torch.float32)
    return lookup[classes].permute(0, 3, 1, 2)


def draw_patches(
    pixels: Tensor,
    features: Tensor,
    out: str | Path,
    clusters: int = 6,
    query: tuple[int, int] | None = None,
    seed: int = 0,
) -> Path:
    """Write a sheet: image | principal components | clusters | similarity to a patch.

    Components and clusters are those of all images together, so that a colour means the same in
    each row.

    Args:
        pixels: (B, 3, H, W) in [0, 1].
        features: (B, rows, columns, C) of their patches.
        out: the PNG to write.
        clusters: number of them.
        query: row and column of the patch that others are compared with, marked red; None: the
            one in the middle.
        seed: of the clusters.
    """
    rows, columns = features.shape[1:3]
    row, column = query or (rows // 2, columns // 2)
    size = pixels.shape[-2:]

    def large(maps: Tensor) -> Tensor:
        return F.interpolate(maps, size, mode="nearest")

    similar = likeness(features, row, column)[:, None].clamp(min=0)
    marked = large(similar).repeat(1, 3, 1, 1)
    mark = torch.zeros(1, 1, rows, columns)
    mark[0, 0, row, column] = 1
    edge = large(mark)
    inner = -F.max_pool2d(-edge, 3, 1, 1)
    red = torch.tensor([1.0, 0.2, 0.2]).view(1, 3, 1, 1)
    marked = torch.where((edge - inner).bool(), red, marked)
    sheet = captioned(
        {
            "image": pixels,
            "principal components": large(principal_colours(features)),
            f"{clusters} clusters": large(_painted(cluster_patches(features, clusters, seed))),
            "similarity to the marked patch": marked,
        },
        rows=len(pixels),
    )
    path = Path(out)
    with whole(path) as part:
        sheet.save(part)
    return path


def patch_labels(
    mask: Tensor, grid: tuple[int, int], least: float = 0.5, ignore: int = 255
) -> Tensor:
    """Class of most pixels of each patch.

    Args:
        mask: (H, W) integers.
        grid: rows and columns of patches.
        least: share of a patch's pixels that the class must have.
        ignore: class that does not count.

    Returns:
        (rows, columns) long; -1 where no class has that share.
    """
    rows, columns = grid
    height, width = mask.shape
    y = torch.arange(height) * rows // height
    x = torch.arange(width) * columns // width
    patch = (y[:, None] * columns + x[None]).flatten()
    classes = int(mask.max()) + 1
    counts = torch.zeros(rows * columns, classes)
    counts.index_put_((patch, mask.flatten().long()), torch.ones(1), accumulate=True)
    total = counts.sum(dim=1)
    if ignore < classes:
        counts[:, ignore] = 0
    most, label = counts.max(dim=1)
    return torch.where(most >= least * total, label, -1).masked_fill(most == 0, -1).view(grid)


def draw_patch_embedding(
    features: Tensor,
    labels: Tensor,
    out: Path,
    title: str,
    classes: tuple[str, ...] = (),
    most: int = 3000,
    method: str = "tsne",
    seed: int = 0,
) -> Path:
    """Write a map of labelled patches (CAE, figure 7).

    Args:
        features: (N, C) of patches.
        labels: (N,); patches with -1 are left out.
        out: the PNG to write.
        title: above the map.
        classes: names of the classes.
        most: patches to draw; more are sampled.
        method: 'tsne' or 'umap'.
        seed: of the sample and of the map.

    Raises:
        ValueError: fewer than three patches have a label.
    """
    kept = torch.nonzero(labels >= 0).flatten()
    if len(kept) < 3:
        raise ValueError("Fewer than three patches have one class: are these the images' masks?")
    generator = torch.Generator().manual_seed(seed)
    kept = kept[torch.randperm(len(kept), generator=generator)[:most]]
    points = project(features[kept], method, seed)
    return draw_embedding(points, labels[kept].numpy(), out, title, classes)


def read_mask(path: str | Path, shorter: int, size: tuple[int, int]) -> Tensor:
    """Classes of a mask, resized (nearest) and cut out of the middle as its image is.

    Args:
        path: of a picture of one channel, or with a palette.
        shorter: pixels of the shorter side after resizing.
        size: height and width of the part in the middle.

    Returns:
        (H, W) long.

    Raises:
        ValueError: the file has several channels and no palette.
    """
    with Image.open(path) as image:
        if image.mode not in ("L", "P", "I", "I;16"):
            raise ValueError(
                f"{path} has mode {image.mode}; a mask has one channel whose values are classes."
            )
        values = torch.from_numpy(np.asarray(image).astype(np.int32))[None]
    nearest = functional.InterpolationMode.NEAREST_EXACT
    resized = functional.resize(values, [shorter], nearest)
    return functional.center_crop(resized, list(size))[0].long()
