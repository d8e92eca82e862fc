"""Data for detectors and segmentors, found in a folder: images, annotations and classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmvitssl.datasets.files import EXTENSIONS, list_images
from mmvitssl.datasets.images import read_lines
from mmvitssl.engine.coco_file import read_coco
from mmvitssl.engine.errors import UserError
from mmvitssl.extras import require
from mmvitssl.writing import write_text

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "test")}
IMAGES = ("images", "image", "img", "imgs", "JPEGImages", "leftImg8bit")
MASKS = ("annotations", "masks", "mask", "labels", "SegmentationClass", "gtFine", "ann_dir")
NAMES = ("classes.txt", "labels.txt", "class_names.txt", "label_names.txt")
ADE = "objectInfo150.txt"
EVERY = 5  # one image in so many is for validation where the data have no split
MOST_MASKS = 2000  # that are read for their labels, evenly spread
IGNORED = 255


@dataclass(frozen=True)
class Split:
    """Images and annotations of training or validation.

    Attributes:
        images: folder of the images.
        annotations: COCO's file, or the folder of masks.
        number: of images.
        names: file with the names of the images that belong to it; empty: all.
    """

    images: Path
    annotations: Path
    number: int
    names: str = ""


@dataclass(frozen=True)
class DenseData:
    """Labelled images for a detector or segmentor.

    Attributes:
        train, val: the two splits.
        classes: their names, in the order of their numbers.
        suffixes: of images and of masks; empty for COCO.
        reduce_zero: whether 0 in masks means "no label" and the first class is 1.
        largest: height and width of the median image.
        notes: what was found, for people.
    """

    train: Split
    val: Split
    classes: tuple[str, ...]
    suffixes: tuple[str, str] = ("", "")
    reduce_zero: bool = False
    largest: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()


def _split_of(name: str) -> str | None:
    """The split that a path below the data speaks of."""
    words = name.lower()
    for split in ("train", "val"):
        if any(word in words for word in SPLITS[split]):
            return split
    return None


# detection


def find_coco(data: str | Path, out: Path) -> DenseData:
    """Find instances in COCO's form, in any of the usual folders.

    Args:
        data: folder with annotation files (``*.json``) and images.
        out: folder for the two halves of annotations that have no split.

    Raises:
        FileNotFoundError: there is no such folder, or no annotations or images in it.
        UserError: several files could be meant, or one cannot be read.
    """
    root = _folder(data)
    files: dict[str | None, list[Path]] = {}
    for path in sorted(root.rglob("*.json")):
        if _is_coco(path):
            files.setdefault(_split_of(str(path.relative_to(root))), []).append(path)
    if not files:
        raise FileNotFoundError(
            f"{root} holds no annotations in COCO's form (a .json with images, annotations and "
            f"categories): Mask R-CNN needs boxes and masks of instances."
        )
    chosen = {split: _one(paths, split, root) for split, paths in files.items()}
    train = chosen.get("train") or chosen.get(None)
    assert train is not None or "val" in chosen
    if train is None:
        raise UserError(f"{chosen['val']} is for validation; there is no file for training.")
    notes = []
    val = chosen.get("val")
    if val is None:
        notes.append(f"no annotations for validation: every {EVERY}th image of {train.name}")
        train, val = _halves(train, out)
    content = read_coco(train)
    splits = [
        Split(_images_of(read_coco(path).images, path, root), path, len(read_coco(path).images))
        for path in (train, val)
    ]
    sizes = [(one["height"], one["width"]) for one in content.images.values()]
    return DenseData(
        splits[0], splits[1], tuple(content.names), largest=_median(sizes), notes=tuple(notes)
    )


def _folder(data: str | Path) -> Path:
    root = Path(data).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root.absolute()} with labelled images.")
    return root.absolute()


def _is_coco(path: Path) -> bool:
    """Whether a file begins like annotations of objects; names, captions and keypoints do not."""
    if any(word in path.name for word in ("caption", "keypoint", "stuff", "panoptic", "info")):
        return False
    with path.open("rb") as file:
        start = file.read(1)
        if start != b"{":
            return False
        file.seek(0)
        try:
            content = json.load(file)
        except ValueError:
            return False
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content)


def _one(paths: list[Path], split: str | None, root: Path) -> Path:
    named = [path for path in paths if path.name.startswith("instances")]
    found = named if named else paths
    words = SPLITS[split or "val"]
    exact = [path for path in found if any(f"{word}.json" in path.name for word in words)]
    found = exact if len(exact) == 1 else found
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(root)) for path in found[:5])
        raise UserError(
            f"{root} has several annotation files{f' for {split}' if split else ''}: {names}. Keep "
            f"one per split, with train and val in their names."
        )
    return found[0]


def _halves(path: Path, out: Path) -> tuple[Path, Path]:
    """Annotations without a split as two files: every fifth image is for validation."""
    content = json.loads(path.read_text(encoding="utf-8"))
    written = []
    for name, keep in (("train", False), ("val", True)):
        images = [one for i, one in enumerate(content["images"]) if (i % EVERY == 1) is keep]
        ids = {one["id"] for one in images}
        part = {
            **content,
            "images": images,
            "annotations": [note for note in content["annotations"] if note["image_id"] in ids],
        }
        if not images:
            raise UserError(f"{path} has {len(content['images'])} image(s): two are needed.")
        target = (out / f"{name}.json").absolute()
        write_text(target, json.dumps(part))
        written.append(target)
    return written[0], written[1]


def _images_of(images: dict[Any, dict[str, Any]], annotations: Path, root: Path) -> Path:
    """The folder that the names of images in an annotation file start from."""
    name = next(iter(images.values()))["file_name"]
    places = [annotations.parent, root, annotations.parent.parent]
    split = annotations.stem.removeprefix("instances_")
    for folder in (*IMAGES, *SPLITS["train"], *SPLITS["val"], split):
        places += [root / folder, root / folder / split, root / folder / (_split_of(split) or "")]
    for place in places:
        if (place / name).is_file():
            return place
    found = next(root.rglob(Path(name).name), None)
    if found is None or not str(found).endswith(name):
        raise FileNotFoundError(f"{annotations} names {name}, which is nowhere below {root}.")
    return Path(str(found)[: -len(name)])


def _median(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    heights, widths = zip(*sizes, strict=True)
    return int(np.median(heights)), int(np.median(widths))


# segmentation


def find_masks(data: str | Path, out: Path) -> DenseData:
    """Find images and masks of labels, in ADE20K's folders or others of the usual names.

    Args:
        data: folder with a folder of images and one of masks, each with ``train`` and ``val`` (or
            ADE20K's ``training`` and ``validation``), or with the files themselves.
        out: folder for the lists of a split, where the data have none.

    Raises:
        FileNotFoundError: there is no such folder, or no images or masks in it.
        UserError: masks do not belong to the images, or have other labels than there are names.
    """
    root = _folder(data)
    inner = root / "ADEChallengeData2016"
    root = inner if inner.is_dir() else root
    image_root, mask_root = _named(root, IMAGES, "images"), _named(root, MASKS, "masks", "*.png")
    pairs = {
        split: (image_root / name, mask_root / name)
        for split, words in SPLITS.items()
        for name in reversed(words)
        if (image_root / name).is_dir() and (mask_root / name).is_dir()
    }
    notes: list[str] = []
    if "train" in pairs and "val" not in pairs:
        raise FileNotFoundError(
            f"{image_root} and {mask_root} have train and no val: validation needs its own images."
        )
    if "train" not in pairs:
        pairs = dict.fromkeys(("train", "val"), (image_root, mask_root))
    suffixes = _suffixes(*pairs["train"])
    lists = {"train": "", "val": ""}
    stems = {split: _stems(*pair, suffixes) for split, pair in pairs.items()}
    if pairs["train"] == pairs["val"]:
        notes.append(f"no folders for training and validation: every {EVERY}th image validates")
        stems["val"] = stems["train"][1::EVERY]
        stems["train"] = [stem for stem in stems["train"] if stem not in set(stems["val"])]
        for split, names in stems.items():
            if not names:
                raise UserError(f"{image_root} has too few images: two are needed.")
            target = (out / f"{split}.txt").absolute()
            write_text(target, "".join(f"{name}\n" for name in names))
            lists[split] = str(target)
    labels, size = _labels(pairs["train"][1], stems["train"], suffixes[1])
    classes, reduce_zero, said = _classes(root, labels)
    splits = {
        split: Split(*pair, number=len(stems[split]), names=lists[split])
        for split, pair in pairs.items()
    }
    return DenseData(
        splits["train"], splits["val"], classes, suffixes, reduce_zero, size, (*notes, said)
    )


def _named(root: Path, names: Sequence[str], what: str, files: str = "*") -> Path:
    found = [root / name for name in names if next((root / name).rglob(files), None) is not None]
    if not found:
        raise FileNotFoundError(
            f"{root} has no folder of {what} ({files}): one of {', '.join(names)} is looked for."
        )
    return found[0]


def _suffixes(images: Path, masks: Path) -> tuple[str, str]:
    """What follows the common stem in the names of an image and its mask."""
    names = sorted(
        (str(path.relative_to(masks)) for path in masks.rglob("*.png")), key=lambda n: (len(n), n)
    )
    for image in list_images(images):
        path = Path(image).relative_to(images)
        stem = str(path.with_suffix(""))
        mask = next((name for name in names if name.startswith(stem)), None)
        if mask is not None:
            return path.suffix, mask[len(stem) :]
    raise UserError(
        f"No mask in {masks} begins with the name of an image in {images}: masks are PNG files "
        f"named like their images (a.jpg and a.png, or a_mask.png)."
    )


def _stems(images: Path, masks: Path, suffixes: tuple[str, str]) -> list[str]:
    """Names of the images that have masks, without suffixes."""
    found = [str(Path(name).relative_to(images)) for name in list_images(images)]
    other = sorted({Path(name).suffix for name in found} - {suffixes[0]})
    if other:
        raise UserError(
            f"{images} holds images that end in {suffixes[0]} and in {', '.join(other)}: mmseg "
            f"reads one kind; known kinds are {', '.join(EXTENSIONS)}."
        )
    stems = [name[: -len(suffixes[0])] for name in found]
    missing = [stem for stem in stems if not (masks / f"{stem}{suffixes[1]}").is_file()]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(stems)} images in {images} have no mask in {masks}, such as "
            f"{missing[0]}{suffixes[1]}."
        )
    return stems


def _labels(masks: Path, stems: list[str], suffix: str) -> tuple[set[int], tuple[int, int]]:
    """The labels in masks, and the height and width of the median one."""
    step = max(1, -(-len(stems) // MOST_MASKS))
    labels: set[int] = set()
    sizes = []
    for stem in stems[::step]:
        path = masks / f"{stem}{suffix}"
        with Image.open(path) as mask:
            if mask.mode not in ("L", "P", "I", "I;16", "1"):
                raise UserError(
                    f"{path} has the colours {mask.mode}: a mask has one channel, whose values are "
                    f"the numbers of classes."
                )
            values = np.asarray(mask)
        labels |= set(map(int, np.unique(values)))
        sizes.append(values.shape)
    return labels - {IGNORED}, _median(sizes)  # type: ignore[arg-type]


def ade20k_classes() -> tuple[str, ...]:
    """Names of ADE20K's 150 classes; the first is label 1 of its masks.

    Raises:
        MissingExtraError: mmseg is not installed.
    """
    require("ADE20K", "transfer", "mmseg")
    from mmseg.datasets import ADE20KDataset

    return tuple(ADE20KDataset.METAINFO["classes"])


def _classes(root: Path, labels: set[int]) -> tuple[tuple[str, ...], bool, str]:
    """Names of the classes, whether 0 is no class, and a line that says why."""
    if not labels:
        raise UserError(f"The masks below {root} hold nothing but {IGNORED}, which means no label.")
    if (root / ADE).is_file():
        return ade20k_classes(), True, f"classes of ADE20K ({ADE})"
    file = next((root / name for name in NAMES if (root / name).is_file()), None)
    count, first = max(labels) + 1, int(0 not in labels)
    if file is None:
        names = tuple(f"class_{label}" for label in range(first, count))
        words = f"labels {first} to {count - 1} in the masks: name them in {root / NAMES[0]}"
        return names, bool(first), words
    names = tuple(line for line in read_lines(file))
    if len(names) == count:
        return names, False, f"{count} names in {file}"
    if len(names) == count - 1:
        return names, True, f"{len(names)} names in {file} for labels from 1 on; 0 is no label"
    if len(names) > count and 0 in labels:
        return names, False, f"{len(names)} names in {file}, of which masks have up to {count}"
    raise UserError(
        f"{file} has {len(names)} names, and the masks below {root} hold labels from {min(labels)} "
        f"to {max(labels)}: the line number of a name, from 0 on, is its label."
    )
