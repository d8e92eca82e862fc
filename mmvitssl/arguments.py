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


def check_drop_path(name: str, rate: float) -> None:
    """Raise ValueError unless a rate of stochastic depth lies in [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name}={rate} must lie in [0, 1).")
