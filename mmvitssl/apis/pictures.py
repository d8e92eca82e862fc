"""Reconstructions of a checkpoint that holds a whole pretraining model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmvitssl.checkpoint import CheckpointError, load_file, load_strict
from mmvitssl.checkpoint.rebuild import read_config_text
from mmvitssl.engine.launch import prepare_scope
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.registry import MODELS
from mmvitssl.visualization.reconstruction import draw_reconstructions


def load_pretrainer(checkpoint: str | Path) -> Pretrainer:
    """The pretraining model of a checkpoint, built from the config inside of it.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it holds no config, or one of another model.
    """
    prepare_scope(Config())
    meta: dict[str, Any] = load_file(str(checkpoint)).get("meta") or {}
    try:
        settings = read_config_text(str(meta.get("cfg") or ""), ("model",)).get("model") or {}
    except ValueError as error:
        raise CheckpointError(
            f"The config inside {checkpoint} is not made of plain values ({error})."
        ) from error
    if not str(settings.get("type", "")).endswith("Pretrainer"):
        raise CheckpointError(
            f"{checkpoint} does not describe a pretraining model: reconstructions need the "
            f"checkpoint of a pretraining, with its decoder, not an exported encoder."
        )
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        model: Pretrainer = MODELS.build(settings)
    model.load_frozen()
    load_strict(model, str(checkpoint))
    return model.eval()


def reconstruct(
    images: str | Path | Sequence[str | Path],
    checkpoint: str | Path,
    out: str | Path = "work_dirs/pictures",
    seed: int = 0,
) -> list[Path]:
    """Draw original, masked image and reconstruction of images: one picture file per task.

    Args:
        images: a path or several.
        checkpoint: of a pretraining, with its decoder.
        out: folder for ``<task>.png``.
        seed: of the masks.

    Returns:
        The files.

    Raises:
        CheckpointError: the checkpoint holds no pretraining model.
        ValueError: no task of it draws pictures.
    """
    paths = [images] if isinstance(images, (str, Path)) else list(images)
    return draw_reconstructions(load_pretrainer(checkpoint), paths, out, seed)
