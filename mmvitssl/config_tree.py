"""The parts of a config, wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def nodes(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """A value and all values inside its dicts, lists and tuples, with their dotted keys.

    A dict comes before what it holds, which may be changed in between.
    """
    yield key, node
    items: Any = ()
    if isinstance(node, Mapping):
        items = node.items()
    elif isinstance(node, (list, tuple)):
        items = enumerate(node)
    for name, value in items:
        yield from nodes(value, f"{key}.{name}" if key else str(name))


def parts(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The dicts of :func:`nodes`, with their dotted keys."""
    return ((name, part) for name, part in nodes(node, key) if isinstance(part, Mapping))


def kind_of(part: Any) -> str:
    """Name of the class that a dict builds, without its scope; empty: it names none."""
    kind = part.get("type", "") if isinstance(part, Mapping) else ""
    return kind.__name__ if isinstance(kind, type) else str(kind).rpartition(".")[2]


def listed(value: Any) -> list[Any]:
    """A list of what a config may state alone or as a list; None is none."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
