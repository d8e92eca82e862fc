"""Write what every config resolves to (tensors, sizes, schedules, pipelines), or compare two files.

    python tools/config_values.py write before.json
    python tools/config_values.py compare before.json after.json

Models are built without memory, on torch's ``meta`` device. Variables that only other lines of a
config read are left out. Two trees are equal where nothing is printed but the number of configs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope, init_default_scope
from torch import nn

from mmvitssl.engine.config_files import KNN_KEYS, RUNNER_KEYS, read_config
from mmvitssl.engine.launch import prepare_scope
from mmvitssl.registry import MODELS

# said once in a config, and filled in where a config leaves them out
OF_THE_MODEL = ("model", "encoder")


def recipes(folder: Path) -> Iterator[Path]:
    """All configs but those that only others inherit."""
    yield from (path for path in sorted(folder.rglob("*.py")) if "_base_" not in path.parts)


def plain(value: Any) -> Any:
    """A value as JSON; lists and tuples alike."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def _settings(prefix: str, thing: object) -> Iterator[tuple[str, Any]]:
    """Public attributes that are numbers, words or tuples of them, of a module or a masker."""
    for name, value in vars(thing).items():
        if name.startswith("_") or name in ("training", "call_super_init"):
            continue
        if isinstance(value, (str, int, float, bool, type(None))):
            yield f"{prefix}.{name}", value
        elif isinstance(value, (list, tuple)) and all(
            isinstance(item, (str, int, float, bool)) for item in value
        ):
            yield f"{prefix}.{name}", list(value)
        elif type(value).__module__.startswith("mmvitssl.") and not isinstance(value, nn.Module):
            if hasattr(value, "__dict__"):
                yield f"{prefix}.{name}", type(value).__name__
                yield from _settings(f"{prefix}.{name}", value)


def _patches(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """What patch-level tasks need of the encoder's grid."""
    grid = getattr(getattr(model, "encoder", None), "grid", None)
    for name, task in getattr(model, "tasks", {}).items():
        if hasattr(task, "patch_need") and grid is not None:
            needs = [task.patch_need(view, tuple(grid)) for view in (0, 1)]
            yield f"tasks.{name}.patch_need", repr(needs)


def values(path: Path) -> dict[str, Any]:
    """What one config resolves to."""
    config = read_config(str(path))
    scope = prepare_scope(config)
    used = {*RUNNER_KEYS, *(KNN_KEYS if "bank" in config else ())} - set(OF_THE_MODEL)
    found: dict[str, Any] = {
        key: plain(value) for key, value in config.to_dict().items() if key in used
    }
    described = config.get("model") or config.get("encoder")
    if described is None:
        return found
    DefaultScope._instance_dict.clear()
    init_default_scope(scope)
    registry = MODELS if scope == "mmvitssl" else MMENGINE_MODELS
    with torch.device("meta"):
        model = registry.build(described)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    found["tensors"] = {
        name: [list(tensor.shape), tensor.requires_grad] for name, tensor in tensors.items()
    }
    settings = [pair for name, module in model.named_modules() for pair in _settings(name, module)]
    found["settings"] = {name: plain(value) for name, value in [*settings, *_patches(model)]}
    return found


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{name}.{number}")
    else:
        yield name, value


def differences(before: Any, after: Any) -> Iterator[str]:
    """One line per value that is not the same."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    for name in [*old, *(name for name in new if name not in old)]:
        was, now = old.get(name, "(absent)"), new.get(name, "(absent)")
        if was != now:
            yield f"{name}: {was} -> {now}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write")
    write.add_argument("out")
    write.add_argument("--configs", default="configs", help="folder")
    compare = commands.add_parser("compare")
    compare.add_argument("files", nargs=2)
    args = parser.parse_args()
    if args.command == "write":
        found = {}
        for path in recipes(Path(args.configs)):
            try:
                found[str(path)] = values(path)
            except Exception as error:
                found[str(path)] = {"error": f"{type(error).__name__}: {error}"}
                print(f"{path}: {type(error).__name__}: {error}", file=sys.stderr)
        Path(args.out).write_text(json.dumps(found))
        print(f"{len(found)} configs")
        return
    before, after = (json.loads(Path(name).read_text()) for name in args.files)
    changed = 0
    for name in sorted({*before, *after}):
        lines = list(differences(before.get(name, {}), after.get(name, {})))
        changed += bool(lines)
        for line in lines:
            print(f"{name}: {line}")
    print(f"{len(before)} and {len(after)} configs, {changed} differ")


if __name__ == "__main__":
    main()
