"""Configs that a file carries: plain values, and the name of one of this package's own classes.

MMEngine's registries import what a type names if it is not registered, so that
``type='os.system'`` calls it. No config out of a file reaches them before it was checked here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DefaultScope
from torch import nn

from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.registry import MODELS, SCOPE

# what an encoder and a tokenizer have, and no other registered class has
ENCODER = ("optional_state", "forward_levels", "grid_of", "adapt_state")
TOKENIZER = ("tokenize", "decode")
SCOPES = (SCOPE, "mmengine", "mmdet", "mmseg")  # that MMEngine writes; no registry is asked here
LARGEST = 2**20  # sizes in a described module: channels, pixels of a side, ids
MOST_LAYERS = 1024
DEPTHS = ("depth", "depths", "blocks", "num_layers", "layers")
SPARE_BYTES = 2**30  # that a module may have beside what its file holds: tables of positions


def registered(members: tuple[str, ...]) -> dict[str, type[nn.Module]]:
    """Classes in this package's registry of models that have all of these attributes, by name."""
    MODELS.import_from_location()
    return {
        name: cls
        for name, cls in sorted(MODELS.module_dict.items())
        if isinstance(cls, type)
        and issubclass(cls, nn.Module)
        and all(hasattr(cls, member) for member in members)
    }


def own_name(kind: Any, members: tuple[str, ...], where: str) -> str:
    """The registered name of a type that a file names; nothing is imported for it.

    Args:
        kind: what the file says; the prefix ``mmvitssl.`` is of this package.
        members: attributes of the classes that are meant: :data:`ENCODER` or :data:`TOKENIZER`.
        where: the file, and the part of it, for messages.

    Raises:
        CheckpointError: it is none of these classes.
    """
    known = registered(members)
    name = kind.rpartition(".")[2] if str(kind).startswith(f"{SCOPE}.") else kind
    if not isinstance(name, str) or name not in known:
        raise CheckpointError(
            f"{where} names the type {kind!r}. Of the types in a file only this package's own are "
            f"built ({', '.join(known)}); nothing was imported or run. If the model is your own, "
            f"describe it in a config of yours (--config)."
        )
    return name


def plain(value: Any, where: str) -> Any:
    """A value that is made of numbers, strings, lists and dicts alone.

    Raises:
        CheckpointError: it is something else, a nested config (``type``, ``_scope_``), or a number
            that is larger than any model's.
    """
    if isinstance(value, bool | str | None):
        return value
    if isinstance(value, int | float):
        if isinstance(value, int) and abs(value) > LARGEST:
            raise CheckpointError(f"{where} is {value}, which is no size of a model.")
        return value
    if isinstance(value, list | tuple):
        return type(value)([plain(item, f"{where}[{i}]") for i, item in enumerate(value)])
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        nested = [key for key in ("type", "_scope_") if key in value]
        if nested:
            raise CheckpointError(
                f"{where} is a config of its own ({nested[0]}={value[nested[0]]!r}), which is not "
                f"built from a file; nothing was imported or run."
            )
        return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
    raise CheckpointError(f"{where} is a {type(value).__name__}, no plain value.")


def own_settings(config: Any, members: tuple[str, ...], where: str) -> dict[str, Any]:
    """The config of a module out of a file, checked: one of our types, and plain arguments.

    Raises:
        CheckpointError: it is not, and why.
    """
    if not isinstance(config, Mapping):
        raise CheckpointError(f"{where} is a {type(config).__name__}, no config.")
    arguments = {key: value for key, value in config.items() if key != "type"}
    arguments.pop("init_cfg", None)  # weights come from the file itself
    if arguments.get("_scope_") in SCOPES:  # of a config that was inherited by package name
        del arguments["_scope_"]
    name = own_name(config.get("type"), members, where)
    settings: dict[str, Any] = plain(arguments, where)
    _check_layers(settings, where)
    return {"type": name, **settings}


def _check_layers(settings: Mapping[str, Any], where: str) -> None:
    """Refuse numbers of layers that would take hours to build."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            _check_layers(value, f"{where}.{key}")
        numbers = value if isinstance(value, list | tuple) else [value]
        if key in DEPTHS and not all(isinstance(n, int) and 0 <= n <= MOST_LAYERS for n in numbers):
            raise CheckpointError(f"{where}.{key} is {value!r}, which is no number of layers.")


def own_model(config: Any, where: str) -> Any:
    """The config of a whole model out of a file, whose every type is one of this package's own.

    Returns:
        A copy, with bare names and without scopes and weights of other files.

    Raises:
        CheckpointError: a type is another, or a value is not plain; nothing was imported or run.
    """
    MODELS.import_from_location()
    model = _own_node(config, where)
    if isinstance(model, Mapping):
        _check_layers(model, where)
    return model


def _own_node(node: Any, where: str) -> Any:
    if isinstance(node, list | tuple):
        return [_own_node(item, f"{where}[{i}]") for i, item in enumerate(node)]
    if not isinstance(node, Mapping):
        return plain(node, where)
    kind, scope = node.get("type"), node.get("_scope_")
    inside = {
        str(key): _own_node(value, f"{where}.{key}")
        for key, value in node.items()
        if key not in ("type", "_scope_", "init_cfg")
    }
    if "type" not in node:
        return inside
    bare = kind.removeprefix(f"{SCOPE}.") if isinstance(kind, str) else kind
    cls = MODELS.module_dict.get(bare) if isinstance(bare, str) else None
    if scope not in (None, *SCOPES) or not str(getattr(cls, "__module__", "")).startswith(SCOPE):
        raise CheckpointError(
            f"{where} names the type {kind!r}, which is none of this package's own. Others are not "
            f"built from a file; nothing was imported or run."
        )
    return {"type": bare, **inside}


def build_model(config: Any, where: str) -> Any:
    """Build a whole model of a file; see :func:`own_model`.

    Raises:
        CheckpointError: it is not all of this package, or cannot be built.
    """
    settings = own_model(config, where)
    try:
        with DefaultScope.overwrite_default_scope(SCOPE):
            return MODELS.build(settings)
    except Exception as error:  # of classes that got another's values, anything may come
        raise CheckpointError(
            f"{where} cannot be built: {type(error).__name__}: {error}"
        ) from error


def build_own(
    settings: Mapping[str, Any],
    members: tuple[str, ...],
    where: str | Path,
    state_bytes: int | None = None,
) -> nn.Module:
    """Build a module from checked settings.

    Args:
        settings: of :func:`own_settings`.
        members: likewise.
        where: for messages.
        state_bytes: size of the tensors of its file; None: not compared.

    Raises:
        CheckpointError: the class does not take the settings, or the module would be far larger
            than its file.
    """
    cls = registered(members)[settings["type"]]
    arguments = {key: value for key, value in settings.items() if key != "type"}
    make: Callable[[], nn.Module] = lambda: cls(**arguments)  # noqa: E731
    try:
        if state_bytes is not None:
            with torch.device("meta"):
                size = _bytes_of(make())
            if size > 4 * state_bytes + SPARE_BYTES:
                raise CheckpointError(
                    f"{where}: its {settings['type']} would take {size / 1e9:.0f} GB, while the "
                    f"tensors of the file have {state_bytes / 1e9:.3f} GB: its description does "
                    f"not belong to its weights."
                )
        return make()
    except CheckpointError:
        raise
    except Exception as error:  # of a class that got another's values, anything may come
        raise CheckpointError(
            f"{where} describes a {settings['type']} that cannot be built: "
            f"{type(error).__name__}: {error}"
        ) from error


def _bytes_of(module: nn.Module) -> int:
    tensors = [*module.parameters(), *module.buffers()]
    return sum(math.prod(tensor.shape) * tensor.element_size() for tensor in tensors)


def bytes_of(state: Mapping[str, Any]) -> int:
    """Size of the tensors of a state."""
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())
