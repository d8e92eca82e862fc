"""COCO annotations against the config of a detector, before its data sets are built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import list_from_file

from mmvitssl.engine import image_samples
from mmvitssl.engine.coco_file import (
    CocoFile,
    box_warnings,
    check_classes,
    check_segmentation,
    has_mask,
    read_coco,
    some,
)
from mmvitssl.engine.dataset_tree import Warnings, config_leaves, on_first_process, transforms_of
from mmvitssl.engine.launch import UserError

IGNORE_EXIF = "color_ignore_orientation"


@dataclass(frozen=True)
class Leaf:
    """A data set of a detector's config.

    Attributes:
        field: where it stands in the config.
        config: of the data set.
        ann_file: its annotations.
        classes: names, those of its type where the config states none.
        stated: whether it states them.
    """

    field: str
    config: Any
    ann_file: Path
    classes: tuple[str, ...]
    stated: bool

    @property
    def images(self) -> Path:
        """The folder of its images."""
        prefix = self.config.get("data_prefix") or {}
        return Path(self.config.get("data_root") or "") / prefix.get("img", "")

    def transforms(self) -> Iterator[Any]:
        """Configs of its transforms."""
        return transforms_of(self.config.get("pipeline") or [])


def stated_classes(field: str, config: Any) -> tuple[str, ...] | None:
    """Classes that a data set's config states: names, or a file with a name per line.

    Raises:
        UserError: they are a string, or no names, or a name comes twice.
    """
    classes = (config.get("metainfo") or {}).get("classes")
    if classes is None:
        return None
    if isinstance(classes, str):
        if not Path(classes).is_file():
            raise UserError(
                f"{field}.metainfo.classes is the string {classes!r} (and no file), which would be "
                f"read letter by letter: write classes=({classes!r},), with the comma."
            )
        classes = list_from_file(classes)
    names = tuple(classes)
    if not names or any(not isinstance(name, str) for name in names):
        raise UserError(f"{field}.metainfo.classes={classes!r} must be names, one or more.")
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise UserError(f"{field}.metainfo.classes names {some(sorted(repeated))} twice.")
    return names


def coco_type(config: Any) -> Any:
    """The class of a data set if it reads annotations as mmdet's CocoDataset does, else None."""
    from mmdet.datasets import CocoDataset
    from mmdet.registry import DATASETS

    kind = config.get("type")
    owner: Any = DATASETS.get(kind) if isinstance(kind, str) else kind
    if not isinstance(owner, type) or not issubclass(owner, CocoDataset):
        return None
    own: Any = owner
    return own if own.load_data_list is CocoDataset.load_data_list else None


def leaves_of(config: Config, part: str) -> list[Leaf]:
    """COCO data sets of a loader whose annotations lie on this machine.

    Raises:
        UserError: classes that are no names.
    """
    leaves = []
    loader = config.get(f"{part}_dataloader") or {}
    for field, dataset in config_leaves(loader.get("dataset"), f"{part}_dataloader.dataset"):
        owner, classes = coco_type(dataset), stated_classes(field, dataset)
        path = Path(dataset.get("data_root") or "") / (dataset.get("ann_file") or "")
        if owner is None or not path.is_file():
            continue
        own = tuple(owner.METAINFO.get("classes") or ())
        leaves.append(Leaf(field, dataset, path, classes or own, classes is not None))
    return leaves


def check_annotations(config: Config, parts: tuple[str, ...]) -> None:
    """Compare COCO annotations with the config, in the first process, for all.

    Args:
        config: with mmdet's modules imported.
        parts: of 'train', 'val' and 'test', those that will run.

    Raises:
        UserError: annotations that cannot be read; classes that they do not have, or have in
            another order; objects without masks; images of another size than they say; or an
            evaluator with annotations of other images.
    """
    on_first_process(lambda: _Checks(config).run(parts), UserError)


class _Checks:
    """Files are read once, whoever asks for them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.files: dict[Path, CocoFile] = {}

    def read(self, path: Path) -> CocoFile:
        path = path.resolve()
        if path not in self.files:
            self.files[path] = read_coco(path)
        return self.files[path]

    def run(self, parts: tuple[str, ...]) -> Warnings:
        warnings: Warnings = []
        for part in parts:
            leaves = leaves_of(self.config, part)
            for leaf in leaves:
                warnings += self.check_leaf(leaf, trained=part == "train")
            if part != "train" and leaves:
                self.check_evaluators(part, leaves)
                warnings += [
                    f"{leaf.field}.indices leaves images out, which the evaluator counts as missed."
                    for leaf in leaves if leaf.config.get("indices") is not None
                ]  # fmt: skip
        return warnings

    def check_leaf(self, leaf: Leaf, trained: bool) -> Warnings:
        file = self.read(leaf.ann_file)
        check_classes(leaf.field, leaf.classes, leaf.stated, file)
        loaders = [t for t in leaf.transforms() if "LoadAnnotations" in str(t.get("type"))]
        masks = [t for t in loaders if t.get("with_mask")]
        if masks:
            polygons = any(not t.get("poly2mask", True) for t in masks)
            check_segmentation(leaf.field, file, leaf.classes, polygons and trained)
        self.check_filter(leaf, file)
        self.check_sizes(leaf, file)
        return box_warnings(leaf.field, file, leaf.classes) if trained else []

    def check_filter(self, leaf: Leaf, file: CocoFile) -> None:
        """Some images are left after ``filter_cfg``."""
        rule = leaf.config.get("filter_cfg") or {}
        if leaf.config.get("test_mode"):
            return
        kept = {key for key, image in file.images.items()
                if min(image["height"], image["width"]) >= rule.get("min_size", 0)}  # fmt: skip
        if rule.get("filter_empty_gt"):
            kept &= {note["image_id"] for note in file.of_classes(leaf.classes)}
        if not kept:
            raise UserError(
                f"{leaf.field} is empty: filter_cfg={dict(rule)} leaves none of the "
                f"{len(file.images)} images in {file.path}, which has {len(file.annotations)} "
                f"annotations."
            )

    def check_sizes(self, leaf: Leaf, file: CocoFile) -> None:
        from mmdet.registry import TRANSFORMS

        first: Any = next(iter(leaf.transforms()), {})
        if "LoadImageFromFile" not in str(first.get("type")) or leaf.config.get("backend_args"):
            return
        load = TRANSFORMS.build(dict(first))
        for image in image_samples.sample(list(file.images.values()), image_samples.HEADERS):
            path = str(leaf.images / image["file_name"])
            stated = (image["height"], image["width"])
            size = image_samples.size_or_none(load, path, stated)
            if size is None:
                continue
            mend = "correct the annotations"
            if image_samples.turned_by_exif(path):
                mend = (
                    f"its EXIF orientation turns it: if boxes were drawn on the stored pixels, set "
                    f"LoadImageFromFile(color_type='{IGNORE_EXIF}') in the pipelines, else {mend}"
                )
            raise UserError(
                f"{path} is {size[1]} wide and {size[0]} high when loaded, but {file.path} says "
                f"width {stated[1]} and height {stated[0]}: {mend}."
            )

    def check_evaluators(self, part: str, leaves: list[Leaf]) -> None:
        evaluators = self.config.get(f"{part}_evaluator") or []
        many = isinstance(evaluators, (list, tuple))
        for number, evaluator in enumerate(evaluators if many else [evaluators]):
            field = f"{part}_evaluator" + (f"[{number}]" if many else "")
            path = evaluator.get("ann_file")
            if not str(evaluator.get("type")).endswith("CocoMetric") or not path:
                continue
            if evaluator.get("format_only"):
                continue
            if not Path(path).is_file():
                raise UserError(
                    f"{field}.ann_file is {path}, which does not exist: set it to the data set's, "
                    f"{leaves[0].ann_file}."
                )
            self.check_evaluator(field, evaluator, self.read(Path(path)), leaves)

    def check_evaluator(
        self, field: str, evaluator: Any, file: CocoFile, leaves: list[Leaf]
    ) -> None:
        check_classes(field, leaves[0].classes, True, file)
        self.check_same_images(field, file, leaves)
        if not file.annotations:
            raise UserError(f"{field}.ann_file {file.path} has no annotations to compare with.")
        for note in file.annotations:
            if "iscrowd" not in note:
                raise UserError(
                    f"{field}.ann_file: annotation {file.where(note)} of {file.path} has no "
                    f"'iscrowd', which COCO's metric reads: set it to 0."
                )
        metric = evaluator.get("metric", "bbox")
        if "segm" in ([metric] if isinstance(metric, str) else metric):
            bare = [note for note in file.of_classes(leaves[0].classes) if not has_mask(note)]
            if bare:
                check_segmentation(f"{field} (metric 'segm')", file, leaves[0].classes, False)

    def check_same_images(self, field: str, file: CocoFile, leaves: list[Leaf]) -> None:
        """The evaluator's images and boxes are those of the data set."""
        own = [self.read(leaf.ann_file) for leaf in leaves]
        if any(other is file for other in own) and len(leaves) == 1:
            return
        tested = {key: image["file_name"] for other in own for key, image in other.images.items()}
        there = {key: image["file_name"] for key, image in file.images.items()}
        mend = f"set {field}.ann_file to the annotations of the tested images"
        if len(leaves) == 1:
            mend = f"set {field}.ann_file={leaves[0].ann_file}"
        if tested != there:
            differing = [key for key in tested | there if tested.get(key) != there.get(key)]
            raise UserError(
                f"{field}.ann_file {file.path} annotates {len(there)} images, but "
                f"{leaves[0].field} has {len(tested)} in {some(leaf.ann_file for leaf in leaves)}; "
                f"they differ in the image ids {some(differing)}: {mend}."
            )
        if sorted(box for other in own for box in _boxes(other)) != sorted(_boxes(file)):
            raise UserError(
                f"{field}.ann_file {file.path} has other boxes for the images of {leaves[0].field} "
                f"than its ann_file {some(leaf.ann_file for leaf in leaves)}: {mend}; or, if these "
                f"boxes are meant, give the data set this ann_file."
            )


def _boxes(file: CocoFile) -> list[tuple[str, ...]]:
    return [
        (str(note["image_id"]), file.categories[note["category_id"]], *map(str, note["bbox"]))
        for note in file.annotations
    ]
