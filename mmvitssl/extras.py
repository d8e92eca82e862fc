"""Errors about libraries that only an extra of this package installs."""

from __future__ import annotations

import importlib.util


class MissingExtraError(ImportError):
    """A library is not installed; the message names the extra that installs it."""


def missing_extra(purpose: str, extra: str, *modules: str) -> str:
    """One sentence: what needs which modules, and the extra that installs them.

    Args:
        purpose: the subject of the sentence, such as "ONNX".
        extra: name of the extra in ``pyproject.toml``.
        modules: names of what is missing, as they are imported.
    """
    return (
        f"{purpose} needs {', '.join(modules)}, which is not installed: "
        f"pip install 'mmvitssl[{extra}]'."
    )


def require(purpose: str, extra: str, *modules: str) -> None:
    """Check that modules can be imported, without importing them.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(missing_extra(purpose, extra, *missing))
