"""Where each value of a config comes from: the file and line that set it last."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

OPTION = "the command line"
DERIVED = "follows from other values"


def _bases(path: Path, tree: ast.Module) -> Iterator[Path]:
    """Files that a config inherits from, the last one first: it comes before the others."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "_base_":
            named = ast.literal_eval(statement.value)
            for name in reversed([named] if isinstance(named, str) else named):
                file, _ = Config._get_cfg_path(name, str(path))
                yield Path(file)


def _keys(node: ast.expr, key: str) -> Iterator[tuple[str, int]]:
    """Dotted keys that an expression of a config sets, and their lines."""
    items: list[tuple[str | None, ast.expr]] = []
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "dict" and not node.args:
        items = [(keyword.arg, keyword.value) for keyword in node.keywords]
    elif isinstance(node, ast.Dict) and all(isinstance(k, ast.Constant) for k in node.keys):
        items = [(str(k.value), v) for k, v in zip(node.keys, node.values, strict=True)]  # type: ignore[union-attr]
    if not items or any(name is None for name, _ in items):
        yield key, node.lineno
        return
    yield f"{key}.", node.lineno  # the dict itself, for keys that variables of it bring
    for name, value in items:
        yield from _keys(value, f"{key}.{name}")


def _set_by(path: Path) -> Iterator[tuple[str, str]]:
    """(dotted key, ``file:line``) of a config and all that it inherits, the strongest first."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            for key, line in _keys(statement.value, name):
                found[key] = f"{_shown(path)}:{line}"
    yield from found.items()
    for base in _bases(path, tree):
        yield from _set_by(base)


def _shown(path: Path) -> str:
    """A path from the configs on, or from its package."""
    parts = path.resolve().parts
    for start in ("configs", ".mim"):
        if start in parts:
            return "/".join(parts[len(parts) - 1 - parts[::-1].index(start) :])
    return str(path)


def _leaves(node: Any, key: str) -> Iterator[str]:
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}")
    else:
        yield key


def _origin(key: str, known: Mapping[str, str]) -> str:
    """The place of a key, or of the nearest expression that holds it."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        part = ".".join(parts[:length])
        if part in known:
            return known[part]
    whole = next((known[f"{'.'.join(parts[:n])}."] for n in range(len(parts), 0, -1)
                  if f"{'.'.join(parts[:n])}." in known), None)  # fmt: skip
    return f"{DERIVED}, below {whole}" if whole else DERIVED


def origins(path: str, config: Config, options: Mapping[str, Any]) -> dict[str, list[str]]:
    """For each variable of a config, lines ``FILE: KEY (LINE), KEY (LINE)...``.

    Args:
        path: of the config file.
        config: as read.
        options: of the command line, by dotted key.
    """
    known: dict[str, str] = dict.fromkeys(options, OPTION)
    for key, place in _set_by(Path(path)):
        known.setdefault(key, place)
    said = {}
    for name, value in config.to_dict().items():
        by_place: dict[str, list[str]] = {}
        for leaf in _leaves(value, name):
            if leaf.split(".")[-1] == "_scope_":
                continue
            place = _origin(leaf, known)
            file, _, line = place.rpartition(":")
            plain = place if not line.isdigit() else file
            short = leaf.removeprefix(f"{name}.")
            by_place.setdefault(plain, []).append(f"{short} ({line})" if line.isdigit() else short)
        ordered = sorted(by_place.items(), key=lambda item: -len(item[1]))
        said[name] = [f"{file}: {', '.join(keys)}" for file, keys in ordered]
    return said
