"""Checks of arguments that many classes share."""

from __future__ import annotations

from collections.abc import Iterable

FILES = ("checkpoint_path", "cache_dir")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
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


def check_no_weights(owner: str, arguments: Iterable[str]) -> None:
    """Refuse arguments of ``timm.create_model`` that download or read weights.

    Raises:
        ValueError: names them.
    """
    found = [name for name in arguments if name.startswith("pretrained") or name in FILES]
    if found:
        raise ValueError(
            f"{owner} has {', '.join(found)}, by which timm downloads or reads weights: leave it "
            f"out, and name the file in the option for weights (--pretrained, checkpoint)."
        )
