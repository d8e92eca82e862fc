"""Where a run comes from: its recipe, what was changed of it, the code and the machine."""

from __future__ import annotations

import ast
import platform
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

import mmvitssl
from mmvitssl.engine.config_files import RUNNER_KEYS, read_config
from mmvitssl.engine.guards import set_guards

CONFIGS = Path(mmvitssl.__file__).resolve().parent / ".mim" / "configs"
# of this run alone
PLACES = ("work_dir", "resume", "load_from", "launcher", "experiment_name", "log_level")
MOST = 200  # differences that are listed


def find_recipe(path: str | Path) -> Path | None:
    """The shipped config that a config file is, inherits from or was made of; None: neither.

    Args:
        path: of a config file.
    """
    path = Path(path).resolve()
    shipped = CONFIGS.resolve()
    for _ in range(20):  # files that inherit from each other in a circle do not load
        if path.is_relative_to(shipped) and "_base_" not in path.parts:
            return path
        if not path.is_file():
            return None
        found = _first_base(path)
        if found is None:  # `mmvitssl pretrain` states it in a comment
            stated = re.search(r"^# Recipe: (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            return shipped / stated[1] if stated and (shipped / stated[1]).is_file() else None
        package, _, name = found.rpartition("::")
        if package not in ("", "mmvitssl"):
            return None
        path = (shipped / name if package else path.parent / name).resolve()
    return None


def _first_base(path: Path) -> str | None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "_base_" for target in node.targets
        ):
            value = ast.literal_eval(node.value)
            return value if isinstance(value, str) else next(iter(value), None)
    return None


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dicts and lists by dotted key."""
    if isinstance(node, dict) and node:
        items: Any = node.items()
    elif isinstance(node, (list, tuple)) and any(isinstance(item, dict) for item in node):
        items = enumerate(node)
    else:
        return {prefix: node}
    leaves: dict[str, Any] = {}
    for key, value in items:
        if key == "_scope_":  # of configs that inherit by package name
            continue
        leaves.update(flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return leaves


def differences(config: Config, recipe: Config) -> list[tuple[str, str, str]]:
    """(key, value in the recipe, value in the config) of every leaf that differs.

    Helper variables of a config file, which nothing reads, are left out.
    """
    read = [key for key in RUNNER_KEYS if key not in PLACES]
    ours, theirs = (
        flatten({key: some[key] for key in read if key in some})
        for some in (config.to_dict(), recipe.to_dict())
    )
    changed = []
    for key in {**theirs, **ours}:
        before, after = (repr(some[key]) if key in some else "" for some in (theirs, ours))
        if before != after:
            changed.append((key, before, after))
    return changed


def _changes(config: Config, recipe: Path) -> list[tuple[str, str, str]]:
    published = read_config(str(recipe))
    set_guards(published)  # every training has them
    return differences(config, published)[:MOST]


def git_state(folder: Path) -> str | None:
    """Commit of a checkout, '+ changes' where files differ from it; None: no checkout."""
    run = [
        subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
        for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    ]
    if run[0].returncode:
        return None
    return run[0].stdout.strip() + (" + changes" if run[1].stdout.strip() else "")


def environment() -> dict[str, str]:
    """Versions and machine, in words."""
    device = (
        f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
        if torch.cuda.is_available()
        else "CPU"
    )
    return {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "mmvitssl": mmvitssl.__version__,
        "device": device,
        "threads": str(torch.get_num_threads()),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def describe_run(runner: Runner) -> dict[str, Any]:
    """What the report says of a run, as JSON can hold it; taken before the first step."""
    config, model = runner.cfg, runner.cfg.model
    encoder = model.get("encoder") or (model.get("backbone") or {}).get("encoder") or {}
    source = getattr(config, "filename", None)
    recipe = find_recipe(source) if source and Path(source).is_file() else None
    changed = _changes(config, recipe) if recipe else []
    parameters = [p.numel() for p in runner.model.parameters()]
    return {
        "recipe": str(recipe.relative_to(CONFIGS.resolve())) if recipe else None,
        "config": str(source) if source else None,
        "changed": changed,
        # of the program `mmvitssl` the first argument is 'mmvitssl COMMAND'
        "command": f"{Path(sys.argv[0]).name} {shlex.join(sys.argv[1:])}".strip(),
        "started": time.strftime("%Y-%m-%d %H:%M"),
        "git": git_state(Path(mmvitssl.__file__).resolve().parent),
        "environment": environment(),
        "model": str(model.type).rpartition(".")[2],
        "tasks": list(model.get("tasks") or {}),
        "encoder": {key: encoder[key] for key in ("type", "arch", "patch_size", "image_size")
                    if key in encoder},
        "parameters": sum(parameters),
        "images": len(runner.train_dataloader.dataset),
        "batch": config.train_dataloader.get("batch_size"),
        "iterations": runner.max_iters,
    }  # fmt: skip
