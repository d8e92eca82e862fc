"""A COCO annotation file, read and checked before a data set is built from it."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from mmvitssl.engine.launch import UserError

REQUIRED = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "bbox", "area"),
    "categories": ("id", "name"),
}
SHOWN = 5


@dataclass(frozen=True)
class CocoFile:
    """Contents of an annotation file.

    Attributes:
        path: of the file.
        images: by id.
        annotations: as they stand in the file.
        categories: names by id, in the order of the file, in which mmdet numbers labels.
    """

    path: Path
    images: dict[Any, dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: dict[Any, str]

    @property
    def names(self) -> list[str]:
        return list(self.categories.values())

    def of_classes(self, classes: Iterable[str]) -> list[dict[str, Any]]:
        """Annotations of these classes."""
        chosen = {key for key, name in self.categories.items() if name in set(classes)}
        return [note for note in self.annotations if note["category_id"] in chosen]

    def where(self, note: dict[str, Any]) -> str:
        """An annotation in words: its id and its image."""
        return f"id {note['id']} in {self.images[note['image_id']]['file_name']}"


def some(names: Iterable[Any]) -> str:
    """The first few, and how many more there are."""
    names = [str(name) for name in names]
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def read_coco(path: Path) -> CocoFile:
    """Read an annotation file.

    Raises:
        UserError: it is not JSON, lacks a required key, repeats an id or a name, or refers to an
            image or a category that it does not have.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is no JSON file: {error}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}; COCO's format is a dict with "
                        f"'images', 'annotations' and 'categories'.")  # fmt: skip
    content.setdefault("annotations", [])  # files of test images have none
    for part, keys in REQUIRED.items():
        _check_entries(path, part, content.get(part), keys)
    categories = {entry["id"]: entry["name"] for entry in content["categories"]}
    repeated = [name for name, n in Counter(categories.values()).items() if n > 1]
    if repeated:
        raise UserError(f"{path}: several categories are named {some(repeated)}.")
    file = CocoFile(
        path, {image["id"]: image for image in content["images"]}, content["annotations"],
        categories,
    )  # fmt: skip
    _check_references(file)
    return file


def _check_entries(path: Path, part: str, entries: Any, keys: Sequence[str]) -> None:
    if not isinstance(entries, list) or (part != "annotations" and not entries):
        raise UserError(f"{path} has no list '{part}', or an empty one; COCO's format needs it.")
    for number, entry in enumerate(entries):
        missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise UserError(
                f"{path}: {part}[{number}] has no '{missing[0]}'; each of {part} needs "
                f"{', '.join(keys)}."
            )
    ids = Counter(entry["id"] for entry in entries)
    repeated = [key for key, count in ids.items() if count > 1]
    if repeated:
        raise UserError(f"{path}: the ids {some(repeated)} of {part} are not unique.")


def _check_references(file: CocoFile) -> None:
    for note in file.annotations:
        for key, known in (("image_id", file.images), ("category_id", file.categories)):
            if note[key] not in known:
                raise UserError(
                    f"{file.path}: annotation id {note['id']} has {key} {note[key]!r}, which "
                    f"is not in the file's {'images' if key == 'image_id' else 'categories'}."
                )
        box = note["bbox"]
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(x, Real) for x in box):
            raise UserError(
                f"{file.path}: annotation {file.where(note)} has bbox {box!r}; it must be the "
                f"four numbers x, y, width, height."
            )


def check_classes(field: str, classes: Sequence[str], stated: bool, file: CocoFile) -> None:
    """Compare a data set's classes with the file's categories.

    Args:
        field: the data set in the config.
        classes: its classes.
        stated: whether the config states them; else they are those of the data set's type.
        file: its annotations.

    Raises:
        UserError: a class is no category, or classes stand in another order than the categories:
            mmdet numbers labels by the file, and names them by the config.
    """
    right = repr(tuple(name for name in file.names if not stated or name in classes))
    absent = [name for name in classes if name not in file.names]
    if absent and not stated:
        raise UserError(
            f"{field} states no classes, so that they are the {len(classes)} of its type "
            f"({some(classes)}), but {file.path} has {some(file.names)}: set metainfo="
            f"dict(classes={tuple(file.names)!r}) of the data sets and num_classes="
            f"{len(file.names)} of the model's heads, or replace all options of paths by "
            f"--cfg-options data_root=YOUR_FOLDER, which reads the classes from the file."
        )
    if absent:
        near = difflib.get_close_matches(absent[0], file.names, n=1)
        raise UserError(
            f"{field}.metainfo.classes has {some(absent)}, which {file.path} does not have: its "
            f"categories are {some(file.names)}." + (f" Did you mean '{near[0]}'?" if near else "")
        )
    if [name for name in file.names if name in classes] != list(classes):
        raise UserError(
            f"{field}: classes {tuple(classes)!r} do not stand in the order of the categories of "
            f"{file.path}, in which mmdet numbers them, so that names and labels would not "
            f"belong together: set metainfo=dict(classes={right})."
        )


def has_mask(note: dict[str, Any]) -> bool:
    """Whether mmdet can make a mask of an annotation: a polygon of three points, or an RLE."""
    shape = note.get("segmentation")
    if isinstance(shape, dict):
        return isinstance(shape.get("counts"), (list, str)) and shape.get("size") is not None
    return isinstance(shape, list) and any(
        isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0
        for polygon in shape
    )


def check_segmentation(field: str, file: CocoFile, classes: Sequence[str], polygons: bool) -> None:
    """Every object of the classes must have a mask.

    Args:
        field: what reads the masks, in the config.
        file: its annotations.
        classes: those that are read.
        polygons: whether only polygons are read (``poly2mask=False``).

    Raises:
        UserError: some have none; mmdet would leave these objects out without a word.
    """
    notes = [note for note in file.of_classes(classes) if not note.get("iscrowd")]
    bare = [note for note in notes if not has_mask(note)]
    if bare:
        raise UserError(
            f"{field} reads masks, but {len(bare)} of {len(notes)} annotations in {file.path} "
            f"have no usable 'segmentation' (a polygon of three points or more, or an RLE), such "
            f"as {file.where(bare[0])}: add them, remove these annotations, or leave masks out "
            f"(with_mask=False, model.roi_head.mask_head=None, metric='bbox')."
        )
    packed = [note for note in notes if isinstance(note["segmentation"], dict)]
    if polygons and packed:
        raise UserError(
            f"{field}: LoadAnnotations(poly2mask=False) leaves out the {len(packed)} annotations "
            f"of {file.path} whose 'segmentation' is an RLE, such as {file.where(packed[0])}: "
            f"set poly2mask=True."
        )


def box_warnings(field: str, file: CocoFile, classes: Sequence[str]) -> list[str]:
    """What is odd about boxes and may be meant: left out by mmdet, or outside of their image."""
    notes, lost, leaving = file.of_classes(classes), [], []
    for note in notes:
        x, y, width, height = note["bbox"]
        image = file.images[note["image_id"]]
        inside = min(x + width, image["width"]) > max(x, 0)
        inside = inside and min(y + height, image["height"]) > max(y, 0)
        if width < 1 or height < 1 or note["area"] <= 0 or not inside:
            lost.append(note)
        elif x + width > image["width"] + 2 or y + height > image["height"] + 2:
            leaving.append(note)
    warnings = []
    if lost:
        warnings.append(
            f"{field}: mmdet leaves out {len(lost)} of {len(notes)} annotations in {file.path} "
            f"(smaller than a pixel, no area, or outside of the image), such as "
            f"{file.where(lost[0])}."
        )
    if len(leaving) > len(notes) / 10:
        warnings.append(
            f"{field}: {len(leaving)} of {len(notes)} boxes in {file.path} reach out of their "
            f"image, such as {file.where(leaving[0])}: bbox must be x, y, width, height, not two "
            f"corners."
        )
    others = len(file.annotations) - len(notes)
    if others:
        unread = [name for name in file.names if name not in classes]
        warnings.append(
            f"{field}: {others} of {len(file.annotations)} annotations in {file.path} are of "
            f"categories that are no classes here ({some(unread)}) and are left out."
        )
    return warnings
