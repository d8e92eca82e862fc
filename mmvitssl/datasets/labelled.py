"""Images with labels: one folder per class, and a share of the labels of any labelled data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from mmvitssl.datasets.files import EXTENSIONS, SHOWN, is_hidden, list_images, log_left_out
from mmvitssl.datasets.images import ImageFiles, Transform, read_lines
from mmvitssl.datasets.sampler import SampleKey, as_key
from mmvitssl.datasets.wrapper import DatasetWrapper
from mmvitssl.registry import DATASETS


def class_folders(root: Path, classes: Sequence[str], extensions: Sequence[str]) -> list[str]:
    """The names of the class folders, checked; hidden ones are left out, which is logged.

    Raises:
        FileNotFoundError: no such folder, no class folders, or a class without one.
        ValueError: images that lie beside the class folders.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"There is no folder {root.absolute()}: set the dataset's root (data_root in the "
            f"config) to your folder with one sub-folder per class."
        )
    content = sorted(root.iterdir())
    hidden = [str(path) for path in content if is_hidden(path.name) and path.name not in classes]
    folders = [path for path in content if path.is_dir() and str(path) not in hidden]
    found = [path.name for path in folders]
    loose = [
        path.name
        for path in content
        if path.suffix.lower() in extensions and path not in folders and str(path) not in hidden
    ]
    if hidden:
        log_left_out(root, hidden, "hidden")
    if loose:
        raise ValueError(
            f"{len(loose)} images lie in {root.absolute()} and in no class folder, such as "
            f"{', '.join(loose[:SHOWN])}."
        )
    missing = [name for name in classes if name not in found]
    if missing or not found:
        raise FileNotFoundError(
            f"{root.absolute()} has no folder for {', '.join(missing[:SHOWN]) or 'any class'}: "
            f"LabelledFolder needs one sub-folder per class."
        )
    return list(classes) or found


@DATASETS.register_module()
class LabelledFolder(ImageFiles):
    """A folder with one sub-folder per class; the images may be nested below it.

    Args:
        root: the folder.
        pipeline, max_broken, check: see :class:`ImageFiles`.
        classes: the sub-folders to read, in the order of their numbers; all but hidden ones by
            default, in alphabetical order.
        extensions: of the files that count as images, any case.

    Raises:
        FileNotFoundError: no such folder, a class without a folder, or a class without images.
        ValueError: images that are in no class folder.
        BrokenImageError: a file whose header cannot be read.
    """

    def __init__(
        self,
        root: str,
        pipeline: Sequence[dict[str, Any] | Transform],
        classes: Sequence[str] = (),
        extensions: Sequence[str] = EXTENSIONS,
        max_broken: int = 0,
        check: int = 2000,
    ) -> None:
        folder = Path(root).expanduser()
        self.classes = class_folders(folder, classes, extensions)
        groups = [list_images(folder / name, extensions) for name in self.classes]
        sizes = [len(group) for group in groups]
        self.labels = np.repeat(np.arange(len(groups)), sizes).astype(np.int64)
        super().__init__([path for group in groups for path in group], pipeline, max_broken, check)


def balanced_subset(labels: np.ndarray, fraction: float, seed: int = 0) -> np.ndarray:
    """Indices of a share of every class, at least one image each, ascending.

    A larger fraction with the same seed holds the smaller one.

    Args:
        labels: (N,) of the classes.
        fraction: in (0, 1]; of a class of n images round(fraction * n) are taken.
        seed: of the choice.

    Raises:
        ValueError: a fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"LabelSubset.fraction={fraction} must lie in (0, 1].")
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = np.random.default_rng([seed, int(label)]).permutation(len(members))
        chosen.append(members[order[: max(1, round(fraction * len(members)))]])
    return np.sort(np.concatenate(chosen))


def listed_subset(paths: Sequence[str], ann_file: str) -> np.ndarray:
    """Indices of the images that a list names, in its order.

    A line is the end of a path: ``n01440764_10026.JPEG`` or ``n01440764/n01440764_10026.JPEG``.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: a line that names no image, or more than one.
    """
    lines = [PurePath(line).parts for line in read_lines(ann_file)]
    owners: dict[tuple[str, ...], list[int]] = {}
    for length in {len(line) for line in lines}:
        for index, path in enumerate(paths):
            owners.setdefault(PurePath(path).parts[-length:], []).append(index)
    wrong = ["/".join(line) for line in lines if len(owners.get(line, ())) != 1]
    if wrong or not lines:
        raise ValueError(
            f"{len(wrong)} of {len(lines)} lines of {ann_file} name no image of the data set, or "
            f"several, such as {', '.join(wrong[:SHOWN])}: a line is the end of one image's path."
        )
    return np.array([owners[line][0] for line in lines], dtype=np.int64)


@DATASETS.register_module()
class LabelSubset(DatasetWrapper):
    """Some of the images of a labelled data set: a share of every class, or those of a list.

    Args:
        dataset: the labelled data set, or its config.
        fraction: share of every class; see :func:`balanced_subset`.
        seed: of the choice.
        ann_file: in place of a fraction, a list of images; see :func:`listed_subset`.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: a data set without labels, not one of fraction and list, or one that does not
            fit.
    """

    def __init__(
        self,
        dataset: Any,
        fraction: float | None = None,
        seed: int = 0,
        ann_file: str | None = None,
    ) -> None:
        super().__init__(dataset)
        if self.dataset.labels is None:
            raise ValueError(f"LabelSubset.dataset: {type(self.dataset).__name__} has no labels.")
        if (fraction is None) == (ann_file is None):
            raise ValueError("LabelSubset needs either fraction or ann_file.")
        if ann_file is not None:
            self.indices = listed_subset(self.dataset.paths, ann_file)
        else:
            assert fraction is not None
            self.indices = balanced_subset(self.dataset.labels, fraction, seed)
        self.paths = [self.dataset.paths[index] for index in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> np.ndarray:
        """(n,) of the images of the subset."""
        return self.dataset.labels[self.indices]

    def __getitem__(self, key: SampleKey | int) -> dict[str, Any]:
        """The image's sample, whose ``index`` is its place in the subset."""
        key = as_key(key)
        inner = replace(key, index=int(self.indices[key.index]))
        sample = self.dataset[inner]
        return {**sample, "sample": {**sample["sample"], "index": key.index}}
