"""Masks of a segmentor's data sets, before the first step."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmvitssl.engine import image_samples
from mmvitssl.engine.coco_checks import stated_classes
from mmvitssl.engine.coco_file import some
from mmvitssl.engine.dataset_tree import Warnings, config_leaves, transforms_of
from mmvitssl.engine.launch import UserError

ONE_CHANNEL = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "F")
BACKGROUND = ("background", "_background_", "bg")
NO_LABEL = 255
FEW = 5  # of the classes of a data set's type: fewer than a fifth of their range is suspicious


def check_folders(config: Config, parts: tuple[str, ...]) -> None:
    """Look for the images of mmseg's data sets, which fail without words when there are none.

    Args:
        config: with mmseg's modules imported.
        parts: of 'train', 'val' and 'test', those that will run.

    Raises:
        UserError: classes that are no names, or a folder without images of the right ending.
    """
    from mmseg.datasets import BaseSegDataset
    from mmseg.registry import DATASETS

    for part in parts:
        loader = config.get(f"{part}_dataloader") or {}
        for field, leaf in config_leaves(loader.get("dataset"), f"{part}_dataloader.dataset"):
            stated_classes(field, leaf)
            kind = leaf.get("type")
            owner: Any = DATASETS.get(kind) if isinstance(kind, str) else kind
            if isinstance(owner, type) and issubclass(owner, BaseSegDataset):
                _check_folder(field, leaf, owner)


def _check_folder(field: str, leaf: Any, owner: Any) -> None:
    folder = (leaf.get("data_prefix") or {}).get("img_path")
    if leaf.get("ann_file") or not folder:
        return
    default = inspect.signature(owner).parameters.get("img_suffix")
    suffix = leaf.get("img_suffix") or (default.default if default else "")
    path = Path(leaf.get("data_root") or "") / folder
    files = [name for _, _, names in os.walk(path) for name in names]
    if path.is_dir() and not any(name.endswith(suffix) for name in files):
        others = sorted({Path(name).suffix for name in files})
        raise UserError(
            f"{field} is empty: no file in {path} ends in '{suffix}' (img_suffix)"
            + (f"; there are {some(others)}" if others else "")
            + "."
        )


def annotation_loader(leaf: Any) -> Any:
    """The transform of a data set that loads its masks, or None."""
    from mmseg.datasets.transforms import LoadAnnotations

    found = [t for t in transforms_of(leaf.pipeline) if isinstance(t, LoadAnnotations)]
    return found[0] if found else None


def check_masks(field: str, leaf: Any, stated: bool) -> Warnings:
    """Look at some of a data set's masks.

    Headers of up to 1,000 pairs are read and 64 masks decoded, for ten seconds each at most.

    Args:
        field: the data set in the config.
        leaf: a built mmseg data set.
        stated: whether the config states its classes; else they are those of its type.

    Returns:
        warnings: classes that none of the masks has.

    Raises:
        UserError: a mask that is missing, has several channels, another size than its image, or
            values that are no class; masks without labels; or ``reduce_zero_label`` that differs
            between data set and pipeline or takes the background away.
    """
    loader = annotation_loader(leaf)
    if loader is None:
        return []
    _check_reduction(field, leaf, loader)
    count = len(leaf)
    for index in image_samples.sample(range(count), image_samples.HEADERS):
        info = leaf.get_data_info(index)
        _check_pair(leaf, info["img_path"], info["seg_map_path"])
    values: set[int] = set()
    labels: set[int] = set()
    looked = 0
    for index in image_samples.sample(range(count), image_samples.DECODED):
        raw, own = _labels(field, leaf, loader, leaf.get_data_info(index))
        values |= raw
        labels |= own
        looked += 1
    return _check_seen(field, leaf, values, labels, stated, f"{looked} of {count} masks looked at")


def _check_reduction(field: str, leaf: Any, loader: Any) -> None:
    if loader.reduce_zero_label not in (None, leaf.reduce_zero_label):
        raise UserError(
            f"{field}.reduce_zero_label={leaf.reduce_zero_label}, but LoadAnnotations of its "
            f"pipeline has {loader.reduce_zero_label}: say it once, at the data set."
        )


def _check_pair(leaf: Any, image: str, mask: str) -> None:
    found = image_samples.header(mask)
    if found is None:
        raise UserError(f"{mask} is no image that can be read.")
    height, width, mode, _ = found
    if mode not in ONE_CHANNEL:
        raise UserError(
            f"{mask} is stored as {mode}, with several channels; a mask has one, whose values are "
            f"the numbers of the classes (grey values, or the indices of a palette PNG): convert "
            f"the colours to numbers."
        )
    first = next(iter(getattr(leaf.pipeline, "transforms", [])), None)
    size = image_samples.size_or_none(first, image, (height, width))
    if size is not None:
        turned = image_samples.turned_by_exif(image)
        raise UserError(
            f"{mask} is {width} wide and {height} high, but its image {image} {size[1]} and "
            f"{size[0]}" + (
                ", for its EXIF orientation turns it: save it turned, or set LoadImageFromFile("
                "color_type='color_ignore_orientation') in the pipelines." if turned else
                ": each pixel needs a label."
            )
        )  # fmt: skip


def _labels(field: str, leaf: Any, loader: Any, info: dict[str, Any]) -> tuple[set[int], set[int]]:
    """Values of a mask in its file, and after ``reduce_zero_label`` and the map of classes."""
    import mmcv  # of the extra `transfer`, without which this package pretrains

    path = info["seg_map_path"]
    stored = mmcv.imfrombytes(
        Path(path).read_bytes(), flag="unchanged", backend=loader.imdecode_backend
    )
    if stored is None or stored.squeeze().ndim != 2:
        raise UserError(
            f"{path} is read with several channels by LoadAnnotations(imdecode_backend="
            f"'{loader.imdecode_backend}'); a mask has one: 'pillow' keeps a palette's indices."
        )
    raw = set(np.unique(stored).tolist())
    info = {**info, "seg_fields": []}
    loader._load_seg_map(info)
    seen = set(np.unique(info["gt_seg_map"]).tolist())
    classes = leaf.metainfo["classes"]
    wrong = sorted(label for label in seen if label >= len(classes) and label != leaf.ignore_index)
    if wrong or max(raw) > NO_LABEL or min(raw) < 0:
        shown = sorted(raw)
        mend = "give each class a number below that, and 255 to pixels without one"
        if wrong == [len(classes)] and not leaf.reduce_zero_label:
            mend += ", or set reduce_zero_label=True if 0 stands for 'no class'"
        raise UserError(
            f"{path} has the values {some(shown)}, but {field} has {len(classes)} classes "
            f"({some(classes)}), numbered 0 to {len(classes) - 1}"
            f"{' after reduce_zero_label' if leaf.reduce_zero_label else ''}: {mend}."
        )
    return raw, seen - {leaf.ignore_index}


def _check_seen(
    field: str, leaf: Any, values: set[int], labels: set[int], stated: bool, looked: str
) -> Warnings:
    classes: Sequence[str] = leaf.metainfo["classes"]
    folder = leaf.data_prefix.get("seg_map_path")
    if not labels or (len(classes) > 1 and labels == {0} and NO_LABEL in values):
        raise UserError(
            f"{field}: no pixel of {folder} has another label than "
            f"{'0' if labels else 'none'} ({looked}; values {some(sorted(values))}): 255 means 'no "
            f"label', so that {some(classes[len(labels) :])} would never be learned. Number the "
            f"classes 0 to {len(classes) - 1} (255 of an image editor becomes 1)"
            + (
                ", and see whether reduce_zero_label=True is meant."
                if leaf.reduce_zero_label
                else "."
            )
        )
    if leaf.reduce_zero_label and 0 in values and max(values - {NO_LABEL}) < len(classes):
        if classes[0].lower() in BACKGROUND:
            raise UserError(
                f"{field}: reduce_zero_label=True takes the value 0 for 'no label' and lowers all "
                f"others by one, so that '{classes[0]}' would be the value 1, and no pixel is "
                f"'{classes[-1]}' ({looked}; values {some(sorted(values))}): set "
                f"reduce_zero_label=False at the data sets, or take '{classes[0]}' out of the "
                f"classes."
            )
    if not stated and max(labels) < len(classes) / FEW and len(classes) > FEW:
        raise UserError(
            f"{field} states no classes, so that they are the {len(classes)} of "
            f"{type(leaf).__name__}, but the masks in {folder} have only the labels "
            f"{some(sorted(labels))} ({looked}): set type='BaseSegDataset' and metainfo=dict("
            f"classes=(...), palette=[...]) of the data sets and num_classes of the heads; if they "
            f"are {type(leaf).__name__}'s classes, state those."
        )
    never = [name for number, name in enumerate(classes) if number not in labels]
    if never and len(labels) < len(classes):
        return [f"{field}: {looked}, no pixel of which is {some(never)}."]
    return []
