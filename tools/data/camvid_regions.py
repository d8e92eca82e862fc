#!/usr/bin/env python
"""Write COCO annotations of the connected regions of some of CamVid's classes.

CamVid has no instances: objects that touch are one region, and an object behind a pole is two. So
average precision on these regions compares initialisations and says nothing beside COCO's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.writers import coco_annotation

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "bicyclist",
)  # fmt: skip
SPLITS = ("train", "val", "test")


class LayoutError(ValueError):
    """The folder does not hold what it should."""


def regions(labels: np.ndarray, index: int, least: int) -> list[np.ndarray]:
    """(H, W) bool masks of the 8-connected regions of a class with at least ``least`` pixels."""
    mask = (labels == index).astype(np.uint8)
    number, marked, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = [i for i in range(1, number) if stats[i, cv2.CC_STAT_AREA] >= least]
    return [marked == i for i in large]


def read_labels(path: Path) -> np.ndarray:
    """(H, W) uint8 class indices of an annotation.

    Raises:
        LayoutError: it is no image of one channel, or holds an index that CamVid does not have.
    """
    try:
        with Image.open(path) as image:
            labels = np.asarray(image)
    except UnidentifiedImageError as error:
        raise LayoutError(f"{path} is not an image.") from error
    known = {*range(len(CLASSES)), 255}
    wrong = [] if labels.ndim != 2 else sorted({*np.unique(labels).tolist()} - known)
    if labels.ndim != 2 or wrong:
        what = f"the indices {wrong[:5]}" if wrong else f"the shape {labels.shape}"
        raise LayoutError(
            f"{path} has {what}: annotations are PNGs of one channel with the indices 0 to "
            f"{len(CLASSES) - 1} of the classes, and 255."
        )
    return labels


def annotate(root: Path, split: str, names: list[str], least: int) -> dict[str, Any]:
    """COCO's record of a split.

    Raises:
        LayoutError: there are no annotations, or one has no image or cannot be read.
    """
    paths = sorted((root / "annotations" / split).glob("*.png"))
    if not paths:
        raise LayoutError(f"There are no annotations {root}/annotations/{split}/*.png.")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for path in track(paths, description=split, transient=True):
        image = root / "images" / split / f"{path.stem}.jpg"
        if not image.is_file():
            raise LayoutError(f"{path} has no image {image}.")
        labels = read_labels(path)
        height, width = labels.shape
        images.append(
            {"id": len(images) + 1, "file_name": image.name, "height": height, "width": width}
        )
        for label, name in enumerate(names):
            for mask in regions(labels, CLASSES.index(name), least):
                annotations.append(coco_annotation(mask, label, len(images), len(annotations) + 1))
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder with images/ and annotations/")
    parser.add_argument(
        "--classes", nargs="+", choices=CLASSES, default=["car", "pedestrian", "bicyclist"]
    )
    parser.add_argument("--min-area", type=int, default=100, help="in pixels; smaller is left out")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS))
    args = parser.parse_args()
    if args.min_area < 1:
        parser.error(f"--min-area must be at least 1, not {args.min_area}.")
    for split in args.splits:
        try:
            record = annotate(args.root, split, args.classes, args.min_area)
        except LayoutError as error:
            sys.exit(f"error: {error}")
        out = args.root / "annotations" / f"regions_{split}.json"
        out.write_text(json.dumps(record))
        labels = [item["category_id"] - 1 for item in record["annotations"]]
        counts = ", ".join(f"{labels.count(i)} {name}" for i, name in enumerate(args.classes))
        print(f"{out}: {len(record['images'])} images, {counts}")


if __name__ == "__main__":
    main()
