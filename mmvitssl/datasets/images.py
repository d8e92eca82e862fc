"""Images on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import print_log
from torch.utils.data import Dataset

from mmvitssl.datasets.classes import renumbered
from mmvitssl.datasets.files import (
    EXTENSIONS,
    SHOWN,
    BrokenImageError,
    check_headers,
    list_images,
)
from mmvitssl.datasets.sampler import SampleKey, as_key
from mmvitssl.distributed import largest_over_processes
from mmvitssl.registry import DATASETS, TRANSFORMS

Transform = Callable[[dict[str, Any]], dict[str, Any]]


def compose(pipeline: Sequence[dict[str, Any] | Callable[..., Any]]) -> list[Callable[..., Any]]:
    """Build the transforms of a pipeline, or of a view."""
    return [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]


class ImageFiles(Dataset):
    """Image files by path: base of the image data sets.

    Attributes:
        labels: (N,) int64, the class of each image; None: the images have none.
        classes: names of the classes; empty where they have none.

    Args:
        paths: the files.
        pipeline: transforms, configs or callables ``dict -> dict``; the first sees ``path`` and
            ``key``.
        max_broken: how many unreadable files the processes of a training and their workers together
            replace by another sample before they give up; every one of them is logged by name.
            Processes tell each other at the log's interval and after each epoch. Broken are
            damaged, truncated and empty files, what is no regular file, and images of more pixels
            than the pipeline's ``LoadImage.max_pixels``.
        check: how many headers to read when built, evenly spread over the files; skipped when
            ``max_broken`` allows for broken files.

    Raises:
        BrokenImageError: a file whose header cannot be read.
    """

    labels: np.ndarray | None = None
    classes: Sequence[str] = ()

    def __init__(
        self,
        paths: Sequence[str],
        pipeline: Sequence[dict[str, Any] | Transform],
        max_broken: int = 0,
        check: int = 2000,
    ) -> None:
        if max_broken < 0 or check < 0:
            raise ValueError(
                f"{type(self).__name__} needs max_broken and check from 0 on; got {max_broken} and "
                f"{check}."
            )
        self.paths = list(paths)
        self.transforms = compose(pipeline)
        self.max_broken = max_broken
        # which ones were broken, in memory that the workers share
        self._broken = torch.zeros(len(self.paths) if max_broken else 0, dtype=torch.uint8)
        self._broken.share_memory_()
        if not max_broken:
            limits = [t.max_pixels for t in self.transforms if hasattr(t, "max_pixels")]
            check_headers(self.paths, check, *limits[:1])

    def __len__(self) -> int:
        return len(self.paths)

    def use_classes(self, classes: Sequence[str]) -> None:
        """Number the labels by another order of the same class names.

        Raises:
            ValueError: names that differ.
        """
        if self.labels is not None and list(classes) != list(self.classes):
            self.labels = renumbered(self.labels, self.classes, classes)
            self.classes = list(classes)

    @property
    def broken(self) -> list[str]:
        """Files that could not be read, by this process and its workers."""
        return [self.paths[index] for index in self._broken.nonzero().flatten().tolist()]

    @property
    def metainfo(self) -> dict[str, Any]:
        """What MMEngine's evaluator asks for: the names of the classes."""
        return {"classes": tuple(self.classes)} if self.classes else {}

    def __getitem__(self, key: SampleKey | int) -> dict[str, Any]:
        """One sample.

        Args:
            key: a :class:`SampleKey`, or an index, which is augmented anew each time.

        Raises:
            BrokenImageError: an unreadable file beyond ``max_broken``.
        """
        key = as_key(key)
        for attempt in range(len(self.paths)):
            index = (key.index + attempt) % len(self.paths)
            try:
                return self._transformed(key, index)
            except BrokenImageError as error:
                self._count(index, error)
        raise BrokenImageError(
            f"None of the {len(self.paths)} images of the data set can be read, such as "
            f"{', '.join(sorted(self.broken)[:SHOWN])}."
        )

    def _transformed(self, key: SampleKey, index: int) -> dict[str, Any]:
        results: dict[str, Any] = {"path": self.paths[index], "key": key, "index": index}
        if self.labels is not None:
            results["label"] = int(self.labels[index])
        source = self._source(index)
        if source is not None:
            results["file"] = source
        for transform in self.transforms:
            results = transform(results)
        return results

    def _source(self, index: int) -> BinaryIO | None:
        """An open file to decode in place of the path; None: the path."""
        return None

    def share_broken(self) -> None:
        """Let each process know the broken files of all; all processes must call it.

        Raises:
            BrokenImageError: they are more than ``max_broken``, on every process.
        """
        number = largest_over_processes(self._broken.count_nonzero())
        if number:
            broken = largest_over_processes(self._broken).bool()
            self._broken[broken] = 1  # not a copy: workers may mark others meanwhile
            self._check_budget("All processes together: ")

    def _check_budget(self, before: str) -> None:
        number = int(self._broken.count_nonzero())
        if number > self.max_broken:
            raise BrokenImageError(
                f"{before}{number} images cannot be read, and max_broken={self.max_broken}: "
                f"{', '.join(self.broken[-SHOWN:])}."
            )

    def _count(self, index: int, error: BrokenImageError) -> None:
        if not self.max_broken:
            raise error
        self._broken[index] = 1
        self._check_budget(f"{error} With it, ")
        number = int(self._broken.count_nonzero())
        print_log(
            f"{error} It is replaced by the next one ({number} of max_broken={self.max_broken}).",
            logger="current",
            level=30,
        )


@DATASETS.register_module()
class ImageFolder(ImageFiles):
    """All images below a folder, however nested; no labels are needed.

    Args:
        root: the folder, or several.
        pipeline, max_broken, check: see :class:`ImageFiles`.
        extensions: of the files that count as images, any case.

    Raises:
        FileNotFoundError: no such folder, or no image in it.
        BrokenImageError: a file whose header cannot be read.
    """

    def __init__(
        self,
        root: str | Sequence[str],
        pipeline: Sequence[dict[str, Any] | Transform],
        extensions: Sequence[str] = EXTENSIONS,
        max_broken: int = 0,
        check: int = 2000,
    ) -> None:
        roots = [root] if isinstance(root, (str, Path)) else root
        paths = [path for folder in roots for path in list_images(folder, extensions)]
        super().__init__(paths, pipeline, max_broken, check)


def read_lines(ann_file: str | Path) -> list[str]:
    """Lines of a text file but for empty ones and those that start with ``#``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no text.
    """
    ann_file = Path(ann_file).expanduser()
    if not ann_file.is_file():
        raise FileNotFoundError(f"There is no list of images at {ann_file.absolute()}.")
    content = ann_file.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"The list {ann_file} is no text in UTF-8: {error}.") from error
    if "\0" in text:
        raise ValueError(f"The list {ann_file} is damaged: it has bytes of 0. Copy it again.")
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def split_labels(lines: Sequence[str], ann_file: str | Path) -> tuple[list[str], np.ndarray]:
    """Lines of ``path label`` -> paths and (N,) labels.

    Raises:
        ValueError: a line without a label, or with one that is no number from 0 on.
    """
    paths, labels = [], []
    for line in lines:
        path, label = line.rsplit(maxsplit=1) if len(line.split()) > 1 else (line, "")
        if not label.isdecimal():
            raise ValueError(
                f"The line '{line}' of {ann_file} has no label: write 'path label', the label a "
                f"number from 0 on."
            )
        paths.append(path)
        labels.append(int(label))
    return paths, np.array(labels, dtype=np.int64)


def _is_missing(path: str) -> bool:
    """Whether nothing is at a path: links that lead in circles are something."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def existing(lines: Sequence[str], ann_file: str | Path, root: str | Path = "") -> list[str]:
    """Paths of the files that a list names.

    Raises:
        FileNotFoundError: nothing is named, or files that do not exist.
    """
    paths = [os.path.join(root, line) for line in lines]
    if not paths:
        raise FileNotFoundError(f"The list {Path(ann_file).absolute()} names no image.")
    # what is there and no file counts as broken when it is read
    missing = [path for path in paths if not os.path.isfile(path) and _is_missing(path)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} images that {ann_file} names do not exist, such as "
            f"{', '.join(missing[:SHOWN])}: set the dataset's root to the folder that the paths "
            f"start from."
        )
    return paths


@DATASETS.register_module()
class ImageList(ImageFiles):
    """The images that a text file names.

    Args:
        ann_file: one path per line; empty lines and those that start with ``#`` are skipped.
        pipeline, max_broken, check: see :class:`ImageFiles`.
        root: the folder that relative paths start from.
        labelled: whether a line is a path, white space and the number of the class.
        classes: names of the classes.

    Raises:
        FileNotFoundError: no such list, nothing in it, or files that do not exist.
        ValueError: a line without a label where they are labelled.
        BrokenImageError: a file whose header cannot be read.
    """

    def __init__(
        self,
        ann_file: str,
        pipeline: Sequence[dict[str, Any] | Transform],
        root: str = "",
        max_broken: int = 0,
        check: int = 2000,
        labelled: bool = False,
        classes: Sequence[str] = (),
    ) -> None:
        lines = read_lines(ann_file)
        if labelled:
            lines, self.labels = split_labels(lines, ann_file)
        self.classes = tuple(classes)
        super().__init__(existing(lines, ann_file, root), pipeline, max_broken, check)
