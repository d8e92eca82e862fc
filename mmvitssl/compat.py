"""The one place that adjusts third-party behaviour; each entry says what goes wrong without it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from mmengine.config import utils as config_utils
from mmengine.runner import checkpoint as mmengine_checkpoint


def _is_distribution(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def map_config_scopes() -> None:
    """Let ``_base_ = 'mmseg::...'`` and ``'mmvitssl::...'`` find their packages.

    MMEngine's table maps the scope ``mmseg`` to a distribution ``mmsegmentation``. The maintained
    fork is distributed under another name, so inheritance would fail; the import name finds both.
    The scope of this package is not in the table at all.
    """
    if not _is_distribution("mmsegmentation"):
        config_utils.MODULE2PACKAGE["mmseg"] = "mmseg"
    config_utils.MODULE2PACKAGE["mmvitssl"] = "mmvitssl"


def _load_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    # Imported late: the checkpoint package imports registries, which import this module.
    from mmvitssl.checkpoint.safe import load_file

    return load_file(filename, map_location=map_location)


def refuse_unsafe_checkpoints() -> None:
    """Make MMEngine's local checkpoint loading (resume included) use the weights-only loader.

    MMEngine falls back to full unpickling, which runs code from the file, with only a warning.
    """
    mmengine_checkpoint.CheckpointLoader.register_scheme(
        prefixes="", loader=_load_local, force=True
    )


def prepare_mmengine() -> None:
    """Apply every adjustment; safe to call more than once."""
    map_config_scopes()
    refuse_unsafe_checkpoints()
