"""The image size stands once in a config, in its encoder; pipelines follow.

A crop without ``size`` has the encoder's ``image_size``. One with ``of_image`` has a share of it:
3 / 7 for DINO's local crops, 8 / 7 for the resizing before a test crop. One with ``per_patch`` has
so many pixels for each patch of the encoder: 8 for the view of a tokenizer of stride 8.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from mmengine.config import Config

from mmvitssl.config_tree import kind_of, parts
from mmvitssl.engine.errors import UserError
from mmvitssl.registry import MODELS

SIZED = ("RandomResizedCrop", "Resize", "CenterCrop", "RandAugment")
WHOLE_PATCHES = ("RandomResizedCrop",)  # what the encoder reads; a resizing is cut after
FOLLOWS = ("of_image", "per_patch")
MOVES = ("image_size", "patch_size")  # keys of an encoder that sizes follow from


def encoder_of(config: Config) -> tuple[str, Any] | None:
    """The encoder's config and its key, of pretraining, classification and nearest neighbours."""
    model = config.get("model")
    if isinstance(model, dict) and isinstance(model.get("encoder"), dict):
        return "model.encoder", model["encoder"]
    if isinstance(config.get("encoder"), dict):
        return "encoder", config["encoder"]
    return None


def _default(encoder: dict[str, Any], name: str) -> Any:
    kind = MODELS.get(str(encoder.get("type")))
    known = inspect.signature(kind).parameters if kind is not None else {}
    return known[name].default if name in known else None


def _sized(config: Config) -> Iterator[tuple[str, Any]]:
    """Transforms with a size anywhere in a config, with their keys."""
    return ((key, part) for key, part in parts(config._cfg_dict) if kind_of(part) in SIZED)


def release_sizes(config: Config, options: Iterable[str]) -> None:
    """Remove sizes that follow from the encoder, in place, where options change what they follow.

    A config that was saved by a run states them.
    """
    found = encoder_of(config)
    if found is None or not any(f"{found[0]}.{key}" in options for key in MOVES):
        return
    for field, transform in _sized(config):
        follows = any(transform.get(key) is not None for key in FOLLOWS)
        if follows and f"{field}.size" not in options:
            transform.pop("size", None)


def resize_config(config: Config, image_size: int | tuple[int, int]) -> None:
    """Set the image size of a config that is read already, and the sizes that follow, in place."""
    found = encoder_of(config)
    if found is not None:
        found[1]["image_size"] = image_size
        release_sizes(config, [f"{found[0]}.image_size"])
        resolve_image_size(config)


def resolve_image_size(config: Config) -> None:
    """Write the sizes of crops that do not state them, in place.

    Raises:
        UserError: a stated size contradicts the share or pixels per patch beside it.
    """
    found = encoder_of(config)
    if found is None or config.get("default_scope", "mmvitssl") != "mmvitssl":
        return
    field, encoder = found
    image = encoder.get("image_size") or _default(encoder, "image_size")
    patch = encoder.get("patch_size") or _default(encoder, "patch_size")
    if image is None or patch is None:
        return
    square = isinstance(image, int)
    sides = (image, image) if square else (image[0], image[1])
    for name, transform in _sized(config):
        if transform.get("size") is None:
            if transform.get("per_patch") is None:
                transform.setdefault("of_image", 1.0)
        elif not any(transform.get(key) is not None for key in FOLLOWS):
            continue
        size = _follow(transform, sides, patch)
        wanted: Any = size[0] if square else list(size)
        stated = transform.get("size")
        if stated is not None and stated not in (wanted, tuple(size), list(size)):
            raise UserError(
                f"{name}.size={stated}, but {field}.image_size={image} and patch_size={patch} make "
                f"it {wanted}: leave size out, or of_image and per_patch."
            )
        transform["size"] = wanted


def _follow(transform: Any, sides: tuple[int, int], patch: int) -> tuple[int, int]:
    if transform.get("per_patch") is not None:
        return (
            sides[0] // patch * transform["per_patch"],
            sides[1] // patch * transform["per_patch"],
        )
    share = transform["of_image"]
    whole = kind_of(transform) in WHOLE_PATCHES and share != 1
    unit = patch if whole else 1
    return (
        max(round(sides[0] * share / unit), 1) * unit,
        max(round(sides[1] * share / unit), 1) * unit,
    )
