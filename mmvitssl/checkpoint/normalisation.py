"""Mean and standard deviation of images: those of a checkpoint and of the model that reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmvitssl.checkpoint.errors import CheckpointError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MeanStd = tuple[tuple[float, ...], tuple[float, ...]]


def mean_std_of(config: Mapping[str, Any] | None) -> MeanStd | None:
    """Mean and deviation in a preprocessor's config, for pixels in [0, 1]; None: it has none."""
    if config is None:
        return None
    ours = str(config.get("type", "")).endswith("ViewPreprocessor")
    mean = config.get("mean", IMAGENET[0] if ours else None)
    std = config.get("std", IMAGENET[1] if ours else None)
    return _scaled(mean, std)


def normalisation_beside(path: str | Path, origin: str | None) -> MeanStd | None:
    """Mean and deviation in ``preprocessor_config.json`` beside a file of transformers.

    None: there is no such file, or it has none.
    """
    file = Path(path).with_name("preprocessor_config.json")
    if not (origin or "").startswith("transformers") or not file.is_file():
        return None
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        return _scaled(said.get("image_mean"), said.get("image_std"))
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{file} is not an image processor of transformers: {error}"
        ) from error


def mean_std_in(preprocessor: Any) -> MeanStd | None:
    """Mean and deviation of a built preprocessor, also of mmdet's and mmseg's; None: none."""
    mean, std = (getattr(preprocessor, name, None) for name in ("mean", "std"))
    if not isinstance(mean, Tensor) or not isinstance(std, Tensor):
        return None
    return _scaled(mean.flatten().tolist(), std.flatten().tolist())


def _scaled(mean: Sequence[float] | None, std: Sequence[float] | None) -> MeanStd | None:
    """From values for pixels in [0, 255], which OpenMMLab's configs have, to those for [0, 1]."""
    if mean is None or std is None:
        return None
    scale = 255.0 if max(map(abs, [*mean, *std])) > 2 else 1.0
    return tuple(value / scale for value in mean), tuple(value / scale for value in std)


def differing(theirs: MeanStd | None, own: MeanStd | None) -> str | None:
    """A warning with both values where they differ; None: they agree, or one is not known."""
    if theirs is None or own is None or len(theirs[0]) != len(own[0]):
        return None  # images of other channels have no values to compare
    same = all(
        torch.allclose(torch.tensor(a), torch.tensor(b), atol=1e-3)
        for a, b in zip(theirs, own, strict=True)
    )
    if same:
        return None
    return (
        f"WARNING: normalisation differs: the checkpoint was trained with {_words(theirs)}, this "
        f"model normalises with {_words(own)} (of pixels in [0, 1]). Features of such images are "
        f"not those of pretraining: set data_preprocessor to the checkpoint's mean and std"
    )


def _words(values: MeanStd) -> str:
    mean, std = ([round(value, 4) for value in part] for part in values)
    return f"mean {mean}, std {std}"
