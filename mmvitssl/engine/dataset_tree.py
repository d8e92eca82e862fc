"""Data sets inside of wrappers (ConcatDataset, RepeatDataset, ...), and their pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mmengine.dist import broadcast_object_list, get_rank
from mmengine.logging import print_log

Warnings = list[str]


def config_leaves(dataset: Any, field: str) -> Iterator[tuple[str, Any]]:
    """Every data set that reads files, with its field in the config.

    Args:
        dataset: config of a data set or of a wrapper, which holds others as ``dataset`` or
            ``datasets``.
        field: where it stands, such as ``train_dataloader.dataset``.
    """
    if not isinstance(dataset, dict):
        return
    if isinstance(dataset.get("datasets"), (list, tuple)):
        for number, inner in enumerate(dataset["datasets"]):
            yield from config_leaves(inner, f"{field}.datasets.{number}")
    elif isinstance(dataset.get("dataset"), dict):
        yield from config_leaves(dataset["dataset"], f"{field}.dataset")
    else:
        yield field, dataset


def built_leaves(dataset: Any, field: str) -> Iterator[tuple[str, Any]]:
    """As :func:`config_leaves`, of data sets that are built."""
    inner = getattr(dataset, "datasets", None)
    if isinstance(inner, (list, tuple)):
        for number, part in enumerate(inner):
            yield from built_leaves(part, f"{field}.datasets.{number}")
    elif getattr(dataset, "dataset", None) is not None:
        yield from built_leaves(dataset.dataset, f"{field}.dataset")
    else:
        yield field, dataset


def transforms_of(pipeline: Any) -> Iterator[Any]:
    """Every transform of a pipeline (configs or objects), those inside of others too."""
    inner = getattr(pipeline, "transforms", None)
    if isinstance(pipeline, dict):
        yield pipeline
        inner = pipeline.get("transforms")
    elif isinstance(pipeline, (list, tuple)):
        inner = pipeline
    else:
        yield pipeline
    if isinstance(inner, (list, tuple)):
        for transform in inner:
            yield from transforms_of(transform)


def spread(length: int, limit: int) -> list[int]:
    """At most ``limit`` indices of ``length``, evenly spaced, the first and the last among them."""
    if length <= limit:
        return list(range(length))
    return [round(i * (length - 1) / (limit - 1)) for i in range(limit)]


def on_first_process(check: Callable[[], Warnings], errors: type[Exception]) -> None:
    """Let the first process look at files and every process end with what it found.

    Warnings are logged.

    Raises:
        errors: what ``check`` raised, in every process.
    """
    found: list[Any] = [None]
    if get_rank() == 0:
        try:
            for warning in check():
                print_log(warning, logger="current", level=30)
        except errors as error:
            found = [str(error)]
    broadcast_object_list(found)
    if found[0] is not None:
        raise errors(found[0])
