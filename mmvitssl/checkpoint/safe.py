"""Reading checkpoint files without running code from them."""

from __future__ import annotations

import argparse
import json
import pickle
import pickletools
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from safetensors import SafetensorError, safe_open

from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.locate import check_weights_file
from mmvitssl.checkpoint.sums import (
    broken_seals,
    damage_of_file,
    damage_of_tensors,
    some_of,
    unreadable_format,
)

# what the unpickler stumbles over in files that are no pickles, or cut short ones
DAMAGED = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    AssertionError,
    struct.error,
)


class NewerFileError(CheckpointError):
    """A file that a later version of this package wrote."""


DEEPEST = 64
OWN_METADATA = "mmvitssl"  # of safetensors files of this package: JSON
CARRIED = "carried."  # in them, before the names of tensors that only exports need


def _history_method(owner: type, name: str) -> Callable[..., Any]:
    """Stands in for ``getattr``, which histories name to find their own four statistics."""
    if owner is not HistoryBuffer or name not in ("min", "max", "mean", "current"):
        raise pickle.UnpicklingError(f"attribute {name} of {owner} was refused")
    return getattr(HistoryBuffer, name)


def _harmless_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What MMEngine's own checkpoints hold beside tensors: loss histories in numpy arrays.

    Nothing here runs code of the file: containers, numpy's array constructors and dtypes.
    """
    # numpy moved its core module in 2.0; files name either path, whichever numpy wrote them.
    reconstruct = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    named = [
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for function, name in ((reconstruct, "_reconstruct"), (scalar, "scalar"))
    ]
    dtypes = [type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "u1", "?")]
    methods = [(_history_method, f"{module}.getattr") for module in ("builtins", "__builtin__")]
    # official checkpoints keep their command line beside the weights, MoBY and Swin their config,
    # a kind of dict
    settings = (OrderedDict, "yacs.config.CfgNode")
    containers = [np.ndarray, np.dtype, HistoryBuffer, OrderedDict, argparse.Namespace, settings]
    return [*named, *dtypes, *methods, *containers]


def load_file(path: str | Path, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True``, and compare it with the checksums in it.

    Args:
        path: a file written by ``torch.save`` or MMEngine, or a ``.safetensors`` file.
        map_location: as :func:`torch.load`.
        mmap: read tensors when they are looked at, and compare nothing: for a look at the rest.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the path is no file's, the file is no checkpoint, or it needs code to be
            run to be read.
    """
    path = check_weights_file(path)
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    _check_damage(path, damage_of_file(path))
    try:
        with torch.serialization.safe_globals(_harmless_globals()):
            content = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        refused = _refused(path, error)
        if not refused:
            raise CheckpointError(
                f"{path} is not a checkpoint that torch can read: {_reason(error)}."
            ) from error
        raise CheckpointError(
            f"{path} holds objects beside tensors and plain containers ({', '.join(refused)}), and "
            f"reading them would run code from the file; it was refused. Save its weights alone (a "
            f"dict of tensors) with the program that wrote it, and load that."
        ) from error
    except DAMAGED as error:
        raise CheckpointError(
            f"{path} is not a checkpoint that torch can read, or it is damaged: "
            f"{_first_line(error)}"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a checkpoint's dict.")
    check_format(path, content.get("meta"))
    if not mmap:
        _check_nesting(path, content)
        _check_damage(path, damage_of_tensors(path, content))
    return content


def _check_nesting(path: Path, node: Any, depth: int = 0) -> None:
    """Refuse containers without end: a pickle can hold a dict that holds itself."""
    if depth > DEEPEST:
        raise CheckpointError(f"{path} is nested more than {DEEPEST} times: it is no checkpoint.")
    if isinstance(node, dict | list | tuple):
        for item in node.values() if isinstance(node, dict) else node:
            if isinstance(item, dict | list | tuple):
                _check_nesting(path, item, depth + 1)


def check_format(path: str | Path, said: Any) -> None:
    """Raise NewerFileError for files of a later version of this package."""
    problem = unreadable_format(said)
    if problem:
        raise NewerFileError(f"{path} {problem}.")


def _check_damage(path: Path, damage: str) -> None:
    if damage:
        raise CheckpointError(
            f"{path} is damaged: {damage}. Use an earlier checkpoint, or copy it again; --resume "
            f"without a path takes the newest good one of the work folder."
        )


def _load_safetensors(path: Path) -> dict[str, Any]:
    """Tensors under ``state_dict``; of files of this package also ``meta`` and ``carried``."""
    try:
        with safe_open(str(path), framework="pt") as file:
            said = json.loads((file.metadata() or {}).get(OWN_METADATA, "null"))
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a safetensors file, or it is damaged: {_first_line(error)}"
        ) from error
    if said is None:
        return {"state_dict": state}
    if not isinstance(said, dict):
        raise CheckpointError(f"{path}: its entry '{OWN_METADATA}' is no dict.")
    check_format(path, said)
    own = {key: tensor for key, tensor in state.items() if not key.startswith(CARRIED)}
    others = {key[len(CARRIED) :]: state[key] for key in state if key not in own}
    broken = broken_seals(said, {"state_dict": own, "carried": others})
    if broken:
        raise CheckpointError(
            f"{path} is damaged: the checksums of {some_of(broken)} differ. Copy or write it again."
        )
    content = {"meta": said, "state_dict": own}
    carried = said.pop("carried", None)
    if isinstance(carried, dict):
        content["carried"] = {**carried, "tensors": others}
    return content


def _refused(path: Path, error: Exception) -> list[str]:
    """Names of the classes and functions in a pickle that may not be read."""
    pattern = r"(?:GLOBAL|whose callable is|class) ([A-Za-z_][\w.]*\.\w+)"
    named = set(re.findall(pattern, str(error)))
    try:
        if zipfile.is_zipfile(path):
            with torch.serialization.safe_globals(_harmless_globals()):
                found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
            return sorted(named | set(found))
        return sorted(named or _globals_of_pickle(path))
    except (pickle.UnpicklingError, *DAMAGED):  # what the error says is all that is known
        return sorted(named)


def _globals_of_pickle(path: Path) -> set[str]:
    """What a plain pickle names, found without reading it."""
    names: set[str] = set()
    words: list[str] = []  # strings so far: the last two name what STACK_GLOBAL takes
    with open(path, "rb") as file:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "GLOBAL":
                names.add(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                names.add(".".join(words[-2:]))
            elif isinstance(argument, str):
                words.append(argument)
    return names


def _reason(error: Exception) -> str:
    """The unpickler's own words, without torch's advice."""
    found = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    return found[1].strip().rstrip(".") if found else _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
