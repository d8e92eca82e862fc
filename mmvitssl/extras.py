"""Errors about libraries that only an extra of this package installs."""

from __future__ import annotations

import importlib.util

EXTRAS = {
    "mmcv": "transfer",
    "mmdet": "transfer",
    "mmseg": "transfer",
    "pycocotools": "transfer",
    "lmdb": "lmdb",
    "umap": "umap",
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "export",
    "skimage": "demo",
    "mmpretrain": "bench",
}


class MissingExtraError(ImportError):
    """A library is not installed; the message names the extra that installs it."""


def missing_extra(purpose: str, *modules: str, extra: str | None = None) -> str:
    """One sentence: what needs which modules, and the extra that installs them.

    Args:
        purpose: the subject of the sentence, such as "ONNX export".
        modules: names that are imported.
        extra: name of the extra, if not the first module's in :data:`EXTRAS`.
    """
    return (
        f"{purpose} needs {', '.join(modules)}, which is not installed: "
        f"pip install 'mmvitssl[{extra or EXTRAS[modules[0]]}]'."
    )


def require(purpose: str, *modules: str) -> None:
    """Check that modules can be imported, without importing them.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(missing_extra(purpose, *missing))
