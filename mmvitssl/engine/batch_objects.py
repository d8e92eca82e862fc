"""Batches of MMDetection and MMSegmentation as tensors, numbers and names, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

TYPE = "$type"
# all that is ever built from a file: a name, the module that has it
KNOWN = {
    "BaseDataElement": "mmengine.structures",
    "InstanceData": "mmengine.structures",
    "PixelData": "mmengine.structures",
    "DetDataSample": "mmdet.structures",
    "HorizontalBoxes": "mmdet.structures.bbox",
    "BitmapMasks": "mmdet.structures.mask",
    "PolygonMasks": "mmdet.structures.mask",
    "SegDataSample": "mmseg.structures",
}


def to_plain(value: Any) -> Any:
    """Tensors, numbers, strings, lists and dicts in place of data samples, boxes, masks and arrays.

    What is none of these, nor known here, is returned as it is.
    """
    name = type(value).__name__
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, BaseDataElement):
        data = {key: to_plain(item) for key, item in value.items()}
        return {TYPE: name, "metainfo": to_plain(value.metainfo), "data": data}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {TYPE: "ndarray", "values": torch.from_numpy(np.ascontiguousarray(value))}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return {TYPE: "tuple", "items": [to_plain(item) for item in value]}
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if name in KNOWN and name.endswith("Boxes"):
        return {TYPE: name, "tensor": value.tensor}
    if name in KNOWN and name.endswith("Masks"):
        size = {"height": value.height, "width": value.width}
        return {TYPE: name, "masks": to_plain(value.masks), **size}
    return value


def _class(name: str) -> Callable[..., Any]:
    import importlib

    return getattr(importlib.import_module(KNOWN[name]), name)  # type: ignore[no-any-return]


def from_plain(value: Any) -> Any:
    """The inverse of :func:`to_plain`; only classes in ``KNOWN`` are built.

    Raises:
        ValueError: a type that is not known.
        ModuleNotFoundError: MMDetection or MMSegmentation is missing.
    """
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    name = value.get(TYPE)
    parts = {key: from_plain(item) for key, item in value.items() if key != TYPE}
    if name is None:
        return parts
    if name == "tuple":
        return tuple(parts["items"])
    if name == "ndarray":
        return _tensor(parts["values"]).numpy()
    if name not in KNOWN:
        raise ValueError(f"it names the type {name!r}, which no batch has")
    if name.endswith("Boxes"):
        return _class(name)(_tensor(parts["tensor"]), clone=False)
    if name.endswith("Masks"):
        return _class(name)(parts["masks"], int(parts["height"]), int(parts["width"]))
    return _class(name)(metainfo=parts["metainfo"], **parts["data"])


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise ValueError(f"it has a {type(value).__name__} in the place of a tensor")
    return value
