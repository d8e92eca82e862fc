"""Checks of arguments that many classes share."""

from __future__ import annotations

from collections.abc import Iterable


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Raise ValueError unless an argument has one of its possible values.

    Args:
        name: of the argument, such as ``ViT.position``.
        value: of it.
        choices: all possible ones.
    """
    known = list(choices)
    if value not in known:
        raise ValueError(f"{name}={value!r} is unknown; use one of {', '.join(map(repr, known))}.")
