"""The encoder of a checkpoint, built again from what the file says of itself."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmvitssl.checkpoint.normalisation import MeanStd, mean_std_of
from mmvitssl.checkpoint.safe import CheckpointError, load_file
from mmvitssl.checkpoint.strict import load_encoder
from mmvitssl.registry import MODELS

# what stands where MMEngine's text of a config has a number that Python has no literal for
NUMBERS = {"inf": float("inf"), "nan": float("nan")}


@dataclass(frozen=True)
class Description:
    """What is needed to build an encoder and to feed it.

    Attributes:
        encoder: config of the encoder.
        preprocessor: config of a ``ViewPreprocessor``; None: ImageNet's normalisation.
        readout: of a classifier's head.
        normalisation: mean and standard deviation of images, for pixels in [0, 1]; None: the
            config does not say.
        tasks: types of the pretext tasks, without a scope, by name.
    """

    encoder: dict[str, Any]
    preprocessor: dict[str, Any] | None = None
    readout: str = "cls"
    normalisation: MeanStd | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)


def _literal(node: ast.expr) -> Any:
    """The value of an expression that is nothing but literals and ``dict(...)``."""
    if isinstance(node, ast.Call):
        plain = isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args
        if not plain or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("a call")
        return {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        keys = [_literal(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_literal, node.values), strict=True))
    if isinstance(node, ast.List):
        return [_literal(element) for element in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_literal(element) for element in node.elts)
    if isinstance(node, ast.Name) and node.id in NUMBERS:
        return NUMBERS[node.id]
    return ast.literal_eval(node)


def read_config_text(text: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Some variables of a config that is stored in a checkpoint; no code of it is run.

    Raises:
        ValueError: the text is no Python, or one of the variables is more than a literal.
    """
    try:
        statements = ast.parse(text).body
    except SyntaxError as error:
        raise ValueError(str(error)) from error
    found = {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            if statement.targets[0].id in names:
                found[statement.targets[0].id] = _literal(statement.value)
    return found


def _is_ours(preprocessor: Any) -> bool:
    return isinstance(preprocessor, Mapping) and str(preprocessor.get("type", "")).endswith(
        "ViewPreprocessor"
    )


def find_encoder(config: Mapping[str, Any]) -> Description | None:
    """The encoder of a config of pretraining, probing or transfer; None: it has none."""
    model = config.get("model") or {}
    backbone = model.get("backbone") or {}
    places = (
        model.get("encoder"),
        backbone.get("encoder"),
        backbone if str(backbone.get("type", "")).endswith(("ViT", "SwinTransformer")) else None,
        config.get("encoder"),
    )
    encoder: Any = next((place for place in places if place), None)
    if encoder is None:
        return None
    options = (model.get("data_preprocessor"), config.get("data_preprocessor"))
    preprocessor = next((option for option in options if _is_ours(option)), None)
    told = None if preprocessor is None else dict(preprocessor)
    # pretraining and probes normalise as ImageNet unless they say otherwise; detectors always say
    default = mean_std_of({"type": "ViewPreprocessor"}) if model.get("backbone") is None else None
    said = next((found for option in options if (found := mean_std_of(option))), default)
    tasks = {
        name: str(task.get("type")).split(".")[-1]
        for name, task in (model.get("tasks") or {}).items()
    }
    return Description(dict(encoder), told, model.get("readout", "cls"), said, tasks)


def describe(
    content: Mapping[str, Any],
    path: str | Path,
    config: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Description | None:
    """How to build the encoder of a checkpoint.

    Args:
        content: of the file.
        path: of the file, for messages.
        config: a config file that describes the encoder; None: what the checkpoint says.
        options: changes of that config, or of what the checkpoint says.

    Returns:
        None where the checkpoint does not say.

    Raises:
        FileNotFoundError: there is no such config.
        CheckpointError: the config has no encoder, or is not readable without running code.
    """
    meta = content.get("meta") or {}
    if config is not None:
        if not Path(config).is_file():
            raise FileNotFoundError(f"There is no config {Path(config).absolute()}.")
        told: Mapping[str, Any] = Config.fromfile(str(config)).to_dict()
    elif "encoder" in meta:
        told = {key: meta[key] for key in ("encoder", "data_preprocessor") if key in meta}
    elif "cfg" in meta:
        try:
            told = read_config_text(meta["cfg"], ("model", "encoder", "data_preprocessor"))
        except ValueError as error:
            raise CheckpointError(
                f"The config inside {path} is not made of plain values ({error}): give it with "
                f"--config."
            ) from error
    else:
        return None
    if options:
        changed = Config(dict(told))
        changed.merge_from_dict(dict(options))
        told = changed.to_dict()
    found = find_encoder(told)
    if found is None:
        raise CheckpointError(
            f"{config or f'The config inside {path}'} describes no encoder: it needs model.encoder,"
            f" model.backbone.encoder or encoder."
        )
    return found


def needed(description: Description | None, path: str | Path) -> Description:
    """A description, or an error that says how to give one."""
    if description is None:
        raise CheckpointError(
            f"{path} does not say how its encoder is built (number of heads, image size): give its "
            f"config with --config."
        )
    return description


def build_encoder(settings: Mapping[str, Any]) -> nn.Module:
    """An encoder of this package from its config, in evaluation mode."""
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        encoder: nn.Module = MODELS.build(dict(settings))
    return encoder.eval()


def fitted(settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings of an encoder without the pretraining tokens that a state lacks.

    Args:
        settings: config of an encoder.
        state: of the encoder, with names behind ``encoder.``.
    """
    result = dict(settings)
    for token in ("mask_token", "unknown_position"):
        if result.get(token) and f"encoder.{token}" not in state:
            result[token] = False
    return result


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
        CheckpointError: the file does not say how its encoder is built, or does not fit.
    """
    description = needed(describe(load_file(path), path, config, options), path)
    encoder = build_encoder(description.encoder)
    load_encoder(encoder, path, source, log)
    return encoder, description
