"""The one place that adjusts third-party behaviour; each entry says what goes wrong without it.

Libraries that take seconds to import are adjusted when they are first imported, not before.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType
from typing import Any

from mmengine.config import utils as config_utils


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


def refuse_unsafe_checkpoints(checkpoint: ModuleType) -> None:
    """Make MMEngine's local checkpoint loading (resume included) use the weights-only loader.

    MMEngine falls back to full unpickling, which runs code from the file, with only a warning.

    Args:
        checkpoint: the module ``mmengine.runner.checkpoint``.
    """
    checkpoint.CheckpointLoader.register_scheme(prefixes="", loader=_load_local, force=True)


def extract_rois_in_float32(extractors: ModuleType) -> None:
    """Let mmdet's RoI extractor see float32 maps and boxes under mixed precision.

    It casts boxes to the maps' type. bfloat16 has 8 bits, which moves a corner at 1,000 pixels by
    up to 4 pixels, and mmcv's compiled RoIAlign does not take it on CPUs at all.

    Args:
        extractors: the module of mmdet that defines ``SingleRoIExtractor``.
    """
    cls = extractors.SingleRoIExtractor
    forward = cls.forward

    def forward_float32(self: Any, feats: Any, rois: Any, roi_scale_factor: Any = None) -> Any:
        maps = tuple(level.float() if level.dtype.itemsize < 4 else level for level in feats)
        pooled = forward(self, maps, rois.to(maps[0].dtype), roi_scale_factor)
        return pooled.to(feats[0].dtype)

    cls.forward = forward_float32


AFTER_IMPORT: dict[str, Callable[[ModuleType], None]] = {
    "mmengine.runner.checkpoint": refuse_unsafe_checkpoints,
    "mmdet.models.roi_heads.roi_extractors.single_level_roi_extractor": extract_rois_in_float32,
}


class _AdjustingLoader(Loader):
    """Runs a module with its own loader, then adjusts it."""

    def __init__(self, loader: Loader, adjust: Callable[[ModuleType], None]) -> None:
        self.loader = loader
        self.adjust = adjust

    def __getattr__(self, name: str) -> Any:  # its source, path and so on
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        self.adjust(module)


class _AdjustingFinder(MetaPathFinder):
    """Finds the modules of :data:`AFTER_IMPORT` as Python does, with a loader that adjusts them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        adjust = AFTER_IMPORT.get(fullname)
        if adjust is None:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _AdjustingLoader(spec.loader, adjust)
        return spec


class _OperatorFinder(MetaPathFinder):
    """Loads :mod:`mmvitssl.mmcv_ops` as ``mmcv._ext``; asked last, if mmcv was not compiled."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "mmcv._ext":
            return None
        file = Path(__file__).with_name("mmcv_ops.py")
        return importlib.util.spec_from_file_location(fullname, file)


def adjust_imports() -> None:
    """Adjust the modules of :data:`AFTER_IMPORT`, and let an mmcv without operators import."""
    for name, adjust in AFTER_IMPORT.items():
        if name in sys.modules:
            adjust(sys.modules[name])
    sys.meta_path.insert(0, _AdjustingFinder())
    sys.meta_path.append(_OperatorFinder())


def prepare_mmengine() -> None:
    """Apply every adjustment; safe to call more than once."""
    map_config_scopes()
    if not any(isinstance(finder, _AdjustingFinder) for finder in sys.meta_path):
        adjust_imports()
