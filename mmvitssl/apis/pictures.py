"""Reconstructions of a checkpoint that holds a whole pretraining model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmvitssl.apis.recipes import load_recipe
from mmvitssl.checkpoint import CheckpointError, check_weights_file, load_file, load_strict
from mmvitssl.checkpoint.description import read_config_text
from mmvitssl.checkpoint.named import named_weights
from mmvitssl.checkpoint.own_types import build_model
from mmvitssl.checkpoint.self_described import describe_file
from mmvitssl.datasets.files import list_images
from mmvitssl.engine.launch import prepare_scope
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.visualization.reconstruction import draw_reconstructions

# official formats whose decoder predicts pixels, and the method that they are of
DECODERS = {
    "mae": "mae",
    "mmpretrain-mae": "mae",
    "transformers-vitmae": "mae",
    "lomar": "lomar",
    "simmim": "simmim",
}
NECK = "tasks.masked.neck."


def load_pretrainer(checkpoint: str | Path) -> Pretrainer:
    """Load the pretraining model of a checkpoint, by the config in it or by its format.

    Args:
        checkpoint: of a pretraining of this package, or an official one of MAE, LoMaR or SimMIM.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it holds no pretraining model that draws pictures.
    """
    prepare_scope(Config())
    path = check_weights_file(checkpoint)
    content = load_file(path)
    meta: dict[str, Any] = content.get("meta") or {}
    try:
        settings = read_config_text(str(meta.get("cfg") or ""), ("model",)).get("model") or {}
    except ValueError as error:
        raise CheckpointError(
            f"The config inside {checkpoint} is not made of plain values ({error})."
        ) from error
    if not settings:
        settings = _official(content, path)
    elif not str(settings.get("type", "")).endswith("Pretrainer"):
        raise CheckpointError(f"{checkpoint} {NO_PRETRAINING}")
    model: Pretrainer = build_model(settings, f"The config inside {checkpoint}: model")
    model.load_frozen()
    load_strict(model, path)
    return model.eval()


NO_PRETRAINING = (
    "does not describe a pretraining model: reconstructions need the checkpoint of a pretraining, "
    "with its decoder, not an exported encoder."
)


def _official(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The model of an official file: the published recipe with the sizes that the tensors show.

    Raises:
        CheckpointError: the file holds no decoder, or one that predicts ids of a tokenizer.
    """
    named = named_weights(content, path)
    origin = "" if named.origin is None else named.origin.name
    if origin not in DECODERS or not any(key.startswith(NECK) for key in named.state):
        why = f" ({named.origin.words})" if named.origin is not None else ""
        raise CheckpointError(
            f"{path}{why} {NO_PRETRAINING} Of official files, those of "
            f"{', '.join(sorted(DECODERS))} have a decoder of pixels."
        )
    recipe, _ = load_recipe(DECODERS[origin], "vit-base")
    settings: dict[str, Any] = recipe.model.to_dict()
    encoder = describe_file(path).encoder
    settings["encoder"] = encoder
    width, patch = encoder["arch"]["embed_dim"], encoder["patch_size"]
    task = settings["tasks"]["masked"]
    sizes = dict(in_channels=width, out_channels=encoder["in_channels"] * patch**2)
    task["neck"].update(sizes)
    task["target"]["patch_size"] = patch
    grid = [side // patch for side in encoder["image_size"]]
    if task["neck"]["type"] == "MAEDecoder":
        inner = named.state[f"{NECK}embed.weight"].shape[0]
        depth = len([key for key in named.state if key.startswith(f"{NECK}blocks.")
                     and key.endswith(".norm1.weight")])  # fmt: skip
        task["neck"].update(width=inner, depth=depth, grid=grid)
    if task["masking"]["type"] == "WindowMasking":
        task["masking"]["window"] = min(task["masking"]["window"], *grid)
    return settings


def reconstruct(
    images: str | Path | Sequence[str | Path],
    checkpoint: str | Path,
    out: str | Path = "work_dirs/pictures",
    seed: int = 0,
) -> list[Path]:
    """Draw original, masked image and reconstruction of images: one picture file per task.

    Args:
        images: a path, a folder, or several paths.
        checkpoint: of a pretraining, with its decoder; an official one of MAE, LoMaR or SimMIM; a
            path, a name or an address.
        out: folder for ``<task>.png``.
        seed: of the masks.

    Returns:
        The files.

    Raises:
        CheckpointError: the checkpoint holds no pretraining model.
        ValueError: no task of it draws pictures.
    """
    if isinstance(images, (str, Path)):
        paths: list[str | Path] = list(list_images(images)) if Path(images).is_dir() else [images]
    else:
        paths = list(images)
    return draw_reconstructions(load_pretrainer(checkpoint), paths, out, seed)
