"""What a file says of its encoder, and how to build it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.normalisation import MeanStd, mean_std_of
from mmvitssl.checkpoint.own_types import ENCODER, build_own, own_settings, registered
from mmvitssl.checkpoint.safe import OWN_METADATA
from mmvitssl.registry import MODELS

# what stands where MMEngine's text of a config has a number that Python has no literal for
NUMBERS = {"inf": float("inf"), "nan": float("nan")}
FLAT = ("encoder", "data_preprocessor", "readout", "normalisation", "tasks")  # of a description
PLACE = re.compile(r"model\.(?:backbone\.)?(?=encoder\b|data_preprocessor\b)")


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
        from_file: whether a checkpoint said it; then it is plain values and types of this package.
        notes: what was assumed because the file does not say it, in sentences.
    """

    encoder: dict[str, Any]
    preprocessor: dict[str, Any] | None = None
    readout: str = "cls"
    normalisation: MeanStd | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)
    from_file: bool = False
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """What a checkpoint keeps of it, under ``meta['mmvitssl']``.

        Raises:
            TypeError: the config holds a value that JSON has no place for.
        """
        kept = {
            "encoder": _named(self.encoder),
            "data_preprocessor": _named(self.preprocessor),
            "readout": self.readout,
            "normalisation": self.normalisation,
            "tasks": dict(self.tasks),
        }
        return json.dumps({key: value for key, value in kept.items() if value is not None})


def _named(node: Any) -> Any:
    """A config with the names of its classes in place of the classes."""
    if isinstance(node, Mapping):
        return {key: _named(value) for key, value in node.items() if key != "_scope_"}
    if isinstance(node, list | tuple):
        return [_named(value) for value in node]
    return node.__name__ if isinstance(node, type) else node


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
    found = {}
    try:
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                if statement.targets[0].id in names:
                    found[statement.targets[0].id] = _literal(statement.value)
    # nesting without end, and keys that no dict takes
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
    return found


def _is_ours(preprocessor: Any) -> bool:
    return isinstance(preprocessor, Mapping) and str(preprocessor.get("type", "")).endswith(
        "ViewPreprocessor"
    )


def _is_backbone(config: Mapping[str, Any]) -> bool:
    """Whether a config is of a registered backbone."""
    kind = config.get("type")
    name = kind.__name__ if isinstance(kind, type) else str(kind).rpartition(".")[2]
    return name in registered(ENCODER)


def find_encoder(config: Mapping[str, Any]) -> Description | None:
    """The encoder of a config of pretraining, probing or transfer; None: it has none."""
    model = config.get("model") or {}
    backbone = model.get("backbone") or {}
    places = (
        model.get("encoder"),
        backbone.get("encoder"),
        backbone if _is_backbone(backbone) else None,
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
    if config is not None:
        if not Path(config).is_file():
            raise FileNotFoundError(f"There is no config {Path(config).absolute()}.")
        stated: Mapping[str, Any] | None = Config.fromfile(str(config)).to_dict()
    else:
        stated = _stated(content, path)
    if stated is None:
        return None
    if options:
        flat = "model" not in stated
        names = {PLACE.sub("", key) if flat else key: value for key, value in options.items()}
        changed = Config(dict(stated))
        changed.merge_from_dict(names)
        stated = changed.to_dict()
    words = str(config or f"The config inside {path}")
    if config is None:
        _check_parts(stated, words)
    try:
        found = find_encoder(stated)
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{words} cannot be read: {error}") from error
    if found is None:
        raise CheckpointError(
            f"{words} describes no encoder: it needs model.encoder, model.backbone.encoder or "
            f"encoder."
        )
    return found if config is not None else _own(found, stated, words)


def _stated(content: Mapping[str, Any], path: str | Path) -> Mapping[str, Any] | None:
    """What a checkpoint says of its model, as plain values; None: nothing.

    Raises:
        CheckpointError: it is not readable without running code.
    """
    meta = content.get("meta") or {}
    if not isinstance(meta, Mapping):
        raise CheckpointError(f"The entry 'meta' of {path} is a {type(meta).__name__}, no dict.")
    try:
        if isinstance(meta.get(OWN_METADATA), str):
            stated = json.loads(meta[OWN_METADATA])
        elif "encoder" in meta:
            stated = {key: meta[key] for key in FLAT if key in meta}
        elif "cfg" in meta:
            stated = read_config_text(meta["cfg"], ("model", "encoder", "data_preprocessor"))
        else:
            return None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"The config inside {path} is not made of plain values ({error}): give it with "
            f"--config."
        ) from error
    if not isinstance(stated, Mapping):
        raise CheckpointError(f"The config inside {path} is a {type(stated).__name__}, no dict.")
    return stated


def _check_parts(stated: Mapping[str, Any], words: str) -> None:
    """Refuse a config out of a file whose parts are no configs.

    Raises:
        CheckpointError: a part is something else.
    """
    model = stated.get("model") or {}
    parts = {key: stated.get(key) for key in ("model", "encoder", "data_preprocessor", "tasks")}
    if isinstance(model, Mapping):
        names = ("encoder", "backbone", "data_preprocessor", "tasks")
        parts |= {f"model.{key}": model.get(key) for key in names}
        parts |= {
            f"model.tasks.{key}": task
            for key, task in (model.get("tasks") or {}).items()
            if isinstance(model.get("tasks"), Mapping)
        }
    for key, part in parts.items():
        if part is not None and not isinstance(part, Mapping):
            raise CheckpointError(f"{words}: {key} is a {type(part).__name__}, no config.")


def _own(found: Description, stated: Mapping[str, Any], words: str) -> Description:
    """A description out of a file: types of this package, plain values, and no augmentation.

    Raises:
        CheckpointError: it is of something else; nothing was imported or run.
    """
    encoder = own_settings(found.encoder, ENCODER, f"{words}: encoder")
    try:
        normalisation = found.normalisation
        if stated.get("normalisation") is not None:
            mean, std = stated["normalisation"]
            normalisation = tuple(map(float, mean)), tuple(map(float, std))
        preprocessor = None
        if found.preprocessor is not None and normalisation is not None:
            mean, std = normalisation
            preprocessor = {"type": "ViewPreprocessor", "mean": list(mean), "std": list(std)}
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{words}: its normalisation cannot be read: {error}") from error
    readout = str(stated.get("readout", found.readout))
    tasks = found.tasks or {k: str(v) for k, v in (stated.get("tasks") or {}).items()}
    return replace(
        found, encoder=encoder, preprocessor=preprocessor, normalisation=normalisation,
        readout=readout, tasks=tasks, from_file=True,
    )  # fmt: skip


def build_encoder(
    description: Description, path: str | Path, state_bytes: int | None = None
) -> nn.Module:
    """The encoder of a description, in evaluation mode.

    Args:
        description: from a config of the user, whose types may be of any package, or from a file.
        path: of the checkpoint, for messages.
        state_bytes: size of its tensors; None: not compared with what would be built.

    Raises:
        CheckpointError: the description of a file cannot be built.
    """
    if description.from_file:
        return build_own(description.encoder, ENCODER, path, state_bytes).eval()
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        encoder: nn.Module = MODELS.build(dict(description.encoder))
    return encoder.eval()


def fitted(settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings of an encoder without the tokens and low-rank updates that a state lacks.

    Args:
        settings: config of an encoder.
        state: of the encoder, with names behind ``encoder.``.
    """
    result = dict(settings)
    for token in ("mask_token", "unknown_position"):
        if result.get(token) and f"encoder.{token}" not in state:
            result[token] = False
    if not any(".qkv_lora." in key for key in state):
        result.pop("lora_rank", None)
    return result
