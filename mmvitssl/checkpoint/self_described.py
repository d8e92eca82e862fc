"""The encoder of any checkpoint, with no word from the user: what it says, else what it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmvitssl.checkpoint.description import Description, build_encoder, describe
from mmvitssl.checkpoint.entries import state_dict_of
from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.facts import facts_of
from mmvitssl.checkpoint.infer import infer_encoder
from mmvitssl.checkpoint.locate import check_weights_file
from mmvitssl.checkpoint.named import named_weights, take_encoder
from mmvitssl.checkpoint.normalisation import IMAGENET, differing, normalisation_beside
from mmvitssl.checkpoint.own_types import bytes_of
from mmvitssl.checkpoint.safe import load_file
from mmvitssl.checkpoint.strict import load_encoder
from mmvitssl.models.backbones.architectures import architecture
from mmvitssl.models.backbones.swin import swin_architecture

# settings of an encoder that change its features and that no shape shows, or only some
SAME = ("patch_size", "qkv_bias", "norm_eps", "mlp_ratio", "window_size")
DEFAULTS = {"qkv_bias": "qkv", "norm_eps": 1e-6, "mlp_ratio": 4.0, "window_size": 7}


def inferred(
    content: Mapping[str, Any], path: str | Path, source: str | None = None
) -> Description:
    """The description of a file that has none: from its tensors and its format.

    Args:
        content: of the file.
        path: of the file.
        source: which encoder of it; see :func:`~mmvitssl.checkpoint.load_encoder`.

    Raises:
        CheckpointError: the tensors are of no encoder here, or do not show what is needed.
    """
    named = named_weights(content, path, source == "ema")
    state, _, _ = take_encoder(named.state, source, path)
    origin = None if named.origin is None else named.origin.name
    facts = facts_of(content, path, named.origin, state)
    encoder, notes = infer_encoder(state, facts, origin, path)
    normalisation = normalisation_beside(path, origin)
    said = None
    if normalisation is not None:
        mean, std = map(list, normalisation)
        said = {"type": "ViewPreprocessor", "mean": mean, "std": std}
    elif encoder["in_channels"] != len(IMAGENET[0]):
        raise CheckpointError(
            f"{path} is for images of {encoder['in_channels']} channels and does not say how they "
            f"are normalised: describe it with --config, with a data_preprocessor."
        )
    return Description(
        encoder, said, "cls", normalisation or IMAGENET, {}, from_file=True, notes=tuple(notes)
    )


def describe_file(
    path: str | Path,
    config: str | Path | None = None,
    source: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Description:
    """How to build the encoder of a checkpoint: what it says, else what its tensors show.

    Args:
        path: any file that :func:`~mmvitssl.checkpoint.load_encoder` reads.
        config, options: see :func:`describe`.
        source: see :func:`~mmvitssl.checkpoint.load_encoder`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: neither tells, or the config contradicts the file.
    """
    file = check_weights_file(path)
    return _described(load_file(file), file, config, source, options)


def _described(
    content: Mapping[str, Any],
    path: str | Path,
    config: str | Path | None,
    source: str | None,
    options: Mapping[str, Any] | None,
) -> Description:
    stated = describe(content, path, config, options)
    if stated is None:
        return inferred(content, path, source)
    own = describe(content, path) if config is not None or options else None
    if own is not None:
        words = str(config or "--cfg-options")
        check_agreement(own, stated, path, words)
    return stated


def _sizes(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """What must agree between two descriptions of an encoder."""
    swin = str(encoder.get("type")).endswith("SwinTransformer")
    sizes = (swin_architecture if swin else architecture)(
        encoder.get("arch", "tiny" if swin else "base")
    )
    found = {f"arch.{key}": value for key, value in sizes.items()}
    patch = {"patch_size": 4 if swin else 16}
    found |= {key: encoder.get(key, {**DEFAULTS, **patch}[key]) for key in SAME}
    found["layer_scale"] = "none" if encoder.get("layer_scale") is None else "some"
    return {key: list(v) if isinstance(v, tuple) else v for key, v in found.items()}


def check_agreement(own: Description, stated: Description, path: str | Path, words: str) -> None:
    """Compare what a user says of an encoder with what its file says.

    Args:
        own: of the file.
        stated: of the user.
        path: of the file.
        words: where the user says it.

    Raises:
        CheckpointError: they differ; the message has both values.
    """
    kinds = [str(each.encoder.get("type")).split(".")[-1] for each in (own, stated)]
    if kinds[1] not in ("ViT", "SwinTransformer"):
        return  # a class of the user's own
    ours, theirs = _sizes(own.encoder), _sizes(stated.encoder)
    differences = [] if kinds[0] == kinds[1] else [f"type {kinds[1]} ({kinds[0]})"]
    differences += [
        f"{key} {theirs[key]} ({ours[key]})"
        for key in ours
        if kinds[0] == kinds[1] and ours[key] != theirs[key]
    ]
    if stated.preprocessor is not None and differing(own.normalisation, stated.normalisation):
        differences.append(f"mean and std {stated.normalisation} ({own.normalisation})")
    if differences:
        raise CheckpointError(
            f"{words} contradicts {path}, whose own values are in brackets: encoder "
            f"{', '.join(differences)}. Leave it out: the checkpoint describes itself."
        )


def rebuild_encoder(
    path: str | Path,
    config: str | Path | None = None,
    source: str | None = None,
    log: Callable[[str], None] = print,
    options: Mapping[str, Any] | None = None,
) -> tuple[nn.Module, Description]:
    """Build the encoder of a checkpoint and load its weights, strictly.

    Args:
        path: any file that :func:`~mmvitssl.checkpoint.load_encoder` reads.
        config, options: see :func:`describe`.
        source: see :func:`~mmvitssl.checkpoint.load_encoder`.
        log: where the report goes.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: nothing tells how its encoder is built, the config contradicts the file,
            or the weights do not fit.
    """
    path = check_weights_file(path)
    content = load_file(path)
    description = _described(content, path, config, source, options)
    for note in description.notes:
        log(note)
    encoder = build_encoder(description, path, bytes_of(state_dict_of(content, path)))
    load_encoder(encoder, path, source, log)
    return encoder, description
