"""What is wrong with a config, from the error of the class that was built from it."""

from __future__ import annotations

import difflib
import inspect
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from traceback import walk_tb
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from mmvitssl.config_tree import parts

SHOWN = 24


class _Builder(typing.NamedTuple):
    """One call of MMEngine's ``build_from_cfg``: what was to be built, and of which class."""

    config: Mapping[str, Any]
    registry: Registry
    owner: Any


def _builders(error: BaseException) -> list[_Builder]:
    """Calls of ``build_from_cfg`` that an error came through, the outermost first."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return [
        _Builder(at["cfg"], at["registry"], at.get("obj_cls"))
        for frame in frames
        if frame.f_code.co_name == "build_from_cfg"
        and isinstance((at := frame.f_locals).get("cfg"), Mapping)
    ]


def _whole_config(error: BaseException) -> Mapping[str, Any]:
    """The config that a program was building, which lies in one of its frames."""
    for frame, _ in walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, Config):
                return value.to_dict()
    return {}


def _same(stated: Mapping[str, Any], built: Mapping[str, Any]) -> bool:
    """Whether a config became what was built, to which others may have added arguments."""
    return bool(stated) and all(
        key in built and (built[key] is value or _equal(built[key], value))
        for key, value in stated.items()
        if key != "_scope_"
    )


def _equal(a: Any, b: Any) -> bool:
    try:
        return bool(a == b) or (a != a and b != b)
    except (TypeError, ValueError, RuntimeError):
        return False


def _place(builder: _Builder, whole: Mapping[str, Any]) -> str:
    """Where in the config it stands; several places are reported as one."""
    found = [
        ("type" in part, len(part), at)
        for at, part in parts(whole)
        if at and _same(part, builder.config)
    ]
    return max(found)[2] if found else ""


def in_words(error: Exception) -> str | None:
    """What a user is to change, with the place in the config; None: no class was being built."""
    builders = _builders(error)
    if not builders:
        return None
    last, whole = builders[-1], _whole_config(error)
    place = _place(last, whole)
    if last.owner is None or not isinstance(last.config.get("type"), str):
        return _no_class(last, place)
    name = getattr(last.owner, "__name__", str(last.owner))
    wrong = [*_arguments(last)] or [*_values(last, place)]
    text = " ".join(wrong) or str(error).strip() or type(error).__name__
    missing = re.search(r"missing \d+ required [\w-]+ arguments?: (.+)", text)
    if missing:
        text = f"{name} needs {missing[1]}, which the config does not set."
    if not place:
        return text if name in text else f"{name}: {text}"
    return text if text.startswith(place) else f"{place}: {text}"


def _no_class(builder: _Builder, place: str) -> str:
    """A config without a type, or with one that is registered nowhere."""
    config, at = builder.config, f"{place}: " if place else ""
    if "type" not in config:
        near = difflib.get_close_matches("type", list(config), n=1)
        hint = f"did you mean type by '{near[0]}'? " if near else ""
        return f"{at}a config without a type: {hint}It sets {_some(list(config))}."
    kind = config["type"]
    if not isinstance(kind, str):
        return f"{at}type={kind!r} must be the name of a class."
    known = known_names(builder.registry)
    near = difflib.get_close_matches(kind.rpartition(".")[2], sorted(known), n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    own = sorted(builder.registry.module_dict)
    return (
        f"{at}{kind} is not in the {builder.registry.scope}::{builder.registry.name} registry: "
        f"{hint}It has {_some(own)}; classes of your own need custom_imports."
    )


def known_names(registry: Registry) -> set[str]:
    """Names in a registry and those that it inherits from."""
    names: set[str] = set()
    at: Registry | None = registry
    while at is not None:
        at.import_from_location()
        names |= set(at.module_dict)
        at = at.parent
    return names


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _parameters(owner: Any) -> dict[str, inspect.Parameter]:
    try:
        found = inspect.signature(owner).parameters
    except (TypeError, ValueError):
        return {}
    return {name: p for name, p in found.items() if name != "self"}


def _arguments(builder: _Builder) -> Iterator[str]:
    """Arguments that a class has not, and those that it needs."""
    parameters = _parameters(builder.owner)
    if not parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    stated = [key for key in builder.config if key not in ("type", "_scope_")]
    name = builder.owner.__name__
    for key in stated:
        if key not in parameters:
            near = difflib.get_close_matches(key, list(parameters), n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            yield (
                f"{name} has no argument '{key}': {hint}It knows {', '.join(parameters)}. "
                f"({builder.owner.__module__})"
            )
            return


# whole numbers that no module can be built with 0 of
SIZES = ("width", "hidden_channels", "in_channels", "out_channels", "num_heads", "patch_size",
         "prototypes", "bottleneck", "num_layers", "window_size")  # fmt: skip


def _values(builder: _Builder, place: str) -> Iterator[str]:
    """Values that are not of the kind that a class of this package states for them."""
    if str(getattr(builder.owner, "__module__", "")).startswith("mmvitssl."):
        yield from wrong_arguments(builder.config, builder.owner, place)
        for key in SIZES:
            value = builder.config.get(key)
            if type(value) is int and value < 1:
                yield (f"{place}.{key}={value} ({builder.owner.__name__}.{key}) must be a whole "
                       f"number from 1 on.")  # fmt: skip


def wrong_arguments(config: Mapping[str, Any], owner: Any, place: str) -> Iterator[str]:
    """Values of a config that are not of the kind that its class states.

    Args:
        config: of one object.
        owner: the class or function that it is of.
        place: of the config, for messages; may be empty.
    """
    function = owner.__init__ if inspect.isclass(owner) else owner
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):  # of types that are imported for the checker alone
        return
    for key, value in config.items():
        if key in hints and not fits(value, hints[key]):
            own = f"{owner.__name__}.{key}"
            stated = f"{place}.{key}={value!r} ({own})" if place else f"{own}={value!r}"
            yield f"{stated} must be {_kind(hints[key])}."


def wrong_values(config: Mapping[str, Any], registries: Sequence[Registry]) -> Iterator[str]:
    """Values of other kinds than the classes of this package state for them, anywhere in a config.

    Args:
        config: a whole one.
        registries: of this package; what only others know is not looked at.
    """
    for place, part in parts(config):
        kind = part.get("type")
        name = kind.removeprefix("mmvitssl.") if isinstance(kind, str) else None
        for registry in registries if name else ():
            owner = registry.module_dict.get(name)
            if owner is not None:
                yield from _values(_Builder(part, registry, owner), place)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value may be of a stated type; True where that cannot be told."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is typing.Literal:
        return value in parts
    if hint is type(None):
        return value is None
    if hint in (int, float, bool, str):
        return _fits_plain(value, hint)
    if origin in (list, tuple, Sequence):
        if isinstance(value, str) or not isinstance(value, list | tuple):
            return False
        inner = parts[0] if parts and (origin is not tuple or parts[-1] is Ellipsis) else Any
        return all(fits(item, inner) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    return True


def _fits_plain(value: Any, hint: type) -> bool:
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and not math.isnan(value)
    return isinstance(value, hint)


def _kind(hint: Any) -> str:
    """A type in words."""
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "a name"}
    if hint in words:
        return words[hint]
    if hint is type(None):
        return "None"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_kind(part) for part in typing.get_args(hint))
    if typing.get_origin(hint) in (list, tuple, Sequence):
        return "a list"
    if typing.get_origin(hint) in (dict, Mapping):
        return "a config"
    return str(getattr(hint, "__name__", hint))
