"""One list of classes for all data sets that share labels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SHOWN = 8
FOLLOWED = 100_000  # files whose links are resolved; of more, those of their folders alone


def renumbered(labels: np.ndarray, names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Labels by another order of the same names.

    Args:
        labels: (N,) by ``names``.
        names: of the classes, in the order of ``labels``.
        classes: the same names in the order that is wanted.

    Raises:
        ValueError: names that differ.
    """
    if sorted(names) != sorted(classes) or len(set(classes)) != len(classes):
        raise ValueError(f"The classes {_some(names)} cannot be numbered by {_some(classes)}.")
    places = {name: number for number, name in enumerate(classes)}
    order = np.array([places[name] for name in names], dtype=np.int64)
    return order[labels]


def share_classes(datasets: Mapping[str, Any]) -> None:
    """Let data sets number their classes by the names of the first one.

    Args:
        datasets: labelled, by the name that messages call them; each with ``labels`` (N,),
            ``classes`` and ``use_classes``.

    Raises:
        ValueError: classes of one that another lacks, the same name twice, or numbers without a
            name in data sets whose classes have none.
    """
    items = list(datasets.items())
    for name, dataset in items:
        names = list(dataset.classes)
        twice = sorted({entry for entry in names if names.count(entry) > 1}) if names else []
        if twice:
            raise ValueError(f"{name} has several classes of one name: {_some(twice)}.")
    first, reference = next(((n, d) for n, d in items if len(d.classes)), items[0])
    for name, dataset in items:
        if dataset is not reference:
            _share(first, reference, name, dataset)


def _share(first: str, reference: Any, name: str, dataset: Any) -> None:
    theirs, ours = list(reference.classes), list(dataset.classes)
    if not ours:
        _check_numbers(first, reference, name, dataset)
        return
    unknown = [entry for entry in ours if entry not in set(theirs)]
    missing = [entry for entry in theirs if entry not in set(ours)]
    if unknown or missing:
        parts = [f"{len(unknown)} that {first} has not ({_some(unknown)})"] if unknown else []
        parts += [f"without {len(missing)} that {first} has ({_some(missing)})"] if missing else []
        raise ValueError(
            f"{name} and {first} must have the same classes, but {name} has {len(ours)} classes, "
            f"{' and '.join(parts)}: remove or add their folders, or name the same classes in "
            f"classes=[...] of both data sets."
        )
    if ours != theirs:
        if not hasattr(dataset, "use_classes"):
            raise ValueError(
                f"{name} and {first} have the same classes in another order, and "
                f"{type(dataset).__name__} cannot renumber them: give both the same classes=[...]."
            )
        dataset.use_classes(theirs)


def _check_numbers(first: str, reference: Any, name: str, dataset: Any) -> None:
    """Labels without names: none may be outside the classes, or the labels, of the first."""
    known = (
        np.arange(len(reference.classes))
        if len(reference.classes)
        else np.unique(np.asarray(reference.labels))
    )
    unknown = np.setdiff1d(np.asarray(dataset.labels), known)
    if len(unknown):
        raise ValueError(
            f"{name} has labels that {first} has not: {_some([str(value) for value in unknown])}. "
            f"Labels without names must mean the same classes in both: name them with "
            f"classes=[...], or number both lists alike."
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more


def _places(paths: Sequence[str]) -> set[str]:
    if len(paths) <= FOLLOWED:
        return {os.path.realpath(path) for path in paths}
    folders = {os.path.dirname(path) for path in paths}
    real = {folder: os.path.realpath(folder) for folder in folders}
    return {os.path.join(real[os.path.dirname(path)], os.path.basename(path)) for path in paths}


def common_files(one: Any, other: Any) -> list[str]:
    """Image files that are in two data sets, links resolved; empty where they have no paths."""
    if getattr(one, "paths", None) is None or getattr(other, "paths", None) is None:
        return []
    return sorted(_places(one.paths) & _places(other.paths))
