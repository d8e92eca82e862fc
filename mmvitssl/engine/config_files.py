"""Reading a config file, with errors for what nothing reads."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner

from mmvitssl.compat import as_written
from mmvitssl.engine.dense_sizes import resolve_dense
from mmvitssl.engine.errors import UserError
from mmvitssl.engine.image_size import release_sizes, resolve_image_size
from mmvitssl.engine.schedules import release_ends, resolve_schedules
from mmvitssl.engine.shorthands import with_shorthands
from mmvitssl.extras import missing_extra

# read by tools/train.py, tools/test.py, MMEngine's Config and the detectors' and segmentors' tools
READ_BY_TOOLS = {
    "runner_type", "custom_imports", "find_unused_parameters", "sync_bn",
    "tta_model", "tta_pipeline", "gpu_ids", "init", "pretrained", "pretrained_source",
}  # fmt: skip
RUNNER_KEYS = tuple(
    sorted(
        {
            name
            for runner in (Runner, FlexibleRunner)
            for name in inspect.signature(runner.__init__).parameters
            if name not in ("self", "cfg")
        }
        | READ_BY_TOOLS
    )
)
# a `test_pipeline` is no misspelt `tta_pipeline`
MEANT = tuple(key for key in RUNNER_KEYS if not key.startswith("tta_"))
# of tools/knn.py, whose configs name a bank of images
KNN_KEYS = ("encoder", "data_preprocessor", "readout", "bank", "queries", "workers", "batch_size")
# names of OpenMMLab's first generation and of other tools, and where the value belongs today
ELSEWHERE = {
    "optimizer": "optim_wrapper.optimizer",
    "optimizer_config": "optim_wrapper.clip_grad",
    "lr_config": "param_scheduler",
    "data": "train_dataloader",
    "runner": "train_cfg",
    "total_epochs": "train_cfg.max_epochs",
    "max_epochs": "train_cfg.max_epochs",
    "epochs": "train_cfg.max_epochs",
    "max_iters": "train_cfg.max_iters",
    "iterations": "train_cfg.max_iters",
    "checkpoint_config": "default_hooks.checkpoint",
    "log_config": "default_hooks.logger",
    "evaluation": "val_evaluator",
    "resume_from": "the option --resume",
    "seed": "randomness.seed",
    "lr": "optim_wrapper.optimizer.lr",
    "batch_size": "train_dataloader.batch_size",
}


def unformatted(config: Config) -> Config:
    """The same config, printed and saved without yapf.

    MMEngine formats a config whenever it logs or saves it: seconds, and half a minute where
    long paths make yapf try every way to break a line. Its switch does not reach ``fromfile``.
    """
    return Config(
        config.to_dict(),
        cfg_text=config.text,
        filename=config.filename,
        env_variables=config.env_variables,
        format_python_code=False,
    )


LENGTHS = {"train_cfg.max_epochs", "train_cfg.max_iters"}


def read_config(
    path: str,
    options: dict[str, Any] | None = None,
    notes: list[str] | None = None,
    short: Mapping[str, Any] | None = None,
) -> Config:
    """Read a config file and merge options into it.

    What follows from other values is filled in: where schedules end, the sizes of crops, the
    channels that necks and heads read (:func:`resolve`). A saved config states all of these; an
    option with another length of training or image size moves them.

    Args:
        path: of the file.
        options: values by dotted key.
        notes: gets a line for each stated value that had to change.
        short: values of the shorthands, see :mod:`mmvitssl.engine.shorthands`.

    Raises:
        UserError: there is no such file, it is no Python, a top-level key that nothing reads, a
            schedule that contradicts the length of the training, or the package of a config that
            it inherits from is not installed.
    """
    if not Path(path).is_file():
        raise UserError(f"There is no config file {Path(path).absolute()}.")
    try:
        with as_written():
            config = unformatted(Config.fromfile(path))
    except ModuleNotFoundError as error:
        absent = [name for name in ("mmdet", "mmseg") if f"{name} is not installed" in str(error)]
        if not absent:
            raise
        raise UserError(missing_extra(path, "transfer", *absent)) from error
    except SyntaxError as error:
        line = f"line {error.lineno}: " if error.lineno else ""
        raise UserError(f"{path} or a config that it inherits, {line}{error.msg}.") from error
    check_keys(config, path)
    if options:
        _check_options(config, options)
    options = with_shorthands(config, path, options or {}, short or {})
    if options:
        if LENGTHS & options.keys():
            release_ends(config)
        release_sizes(config, options)
        # one by one: MMEngine cannot set a list and an entry of it at once
        for key in sorted(options, key=lambda name: name.count(".")):
            config.merge_from_dict(_replacing(config, {key: options[key]}))
    changed = resolve(config)
    if notes is not None:
        notes += changed
    return config


def _replacing(config: Config, options: dict[str, Any]) -> dict[str, Any]:
    """The options, where a dict takes the place of a value that is none (``arch='tiny'``)."""
    merged = {}
    for key, value in options.items():
        stated: Any = config
        for name in key.split("."):
            stated = stated.get(name) if isinstance(stated, dict | Config) else None
        if isinstance(value, dict) and stated is not None and not isinstance(stated, dict):
            value = {"_delete_": True, **value}
        merged[key] = value
    return merged


def resolve(config: Config) -> list[str]:
    """Fill in what follows from other values, in place; returns what was changed, in words.

    Raises:
        UserError: a stated value contradicts.
    """
    resolve_image_size(config)
    resolve_dense(config)
    return resolve_schedules(config)


def _names_read(tree: ast.Module) -> set[str]:
    """Names that the statements of a config read, as ``name`` or as ``_base_.name``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= _placeholders(node.value)
    return found


def _placeholders(text: str) -> set[str]:
    """Names in ``{{_base_.name}}``."""
    parts = text.replace(" ", "").split("{{_base_.")[1:]
    return {part.partition("}}")[0].partition(".")[0] for part in parts}


def _assigned(tree: ast.Module) -> list[str]:
    targets = [target for node in tree.body for target in getattr(node, "targets", ())]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _saved(tree: ast.Module) -> bool:
    """Whether a config was written by MMEngine: sorted values, and no line that reads another.

    It holds the variables of the config that it was saved from, which nothing reads any more.
    """
    names = _assigned(tree)
    literal = _names_read(tree) <= {"dict", "list", "tuple", "True", "False", "None", "inf", "nan"}
    alone = len(names) == len(tree.body) > 3 and "_base_" not in names
    return literal and alone and names == sorted(names)


def check_keys(config: Config, path: str) -> None:
    """Refuse a top-level key that nothing reads.

    A key is read by the runner or the tools, or it is a variable that another line of the config
    reads. A config that others inherit may offer variables that only some of them read.

    Raises:
        UserError: there is one, with the name that was meant, as far as it can be told.
    """
    known = {*RUNNER_KEYS, *(KNN_KEYS if "bank" in config else ())}
    unknown = [key for key in config if key not in known]
    if not unknown:
        return
    variables, own = _variables(config, path)
    for key in unknown:
        near = difflib.get_close_matches(key, MEANT, n=1, cutoff=0.85)
        if key not in variables and (near or key in own):
            raise UserError(f"{path} sets '{key}', which nothing reads{_meant(key, near)}")


def _variables(config: Config, path: str) -> tuple[set[str], set[str]]:
    """Names that a config and those it inherits read, and those that the file itself sets."""
    if not path.endswith(".py"):
        return set(), set(config)
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    own = set() if _saved(tree) else set(_assigned(tree))
    try:
        return _names_read(ast.parse(_python_of(config))), own
    except SyntaxError:  # it inherits a YAML or JSON file, which reads nothing
        return _names_read(tree), own


def _python_of(config: Config) -> str:
    """The text of a config and of all that it inherits, without the paths between them."""
    lines = config.text.splitlines()
    return "\n".join("" if _is_path(line) else line for line in lines)


def _is_path(line: str) -> bool:
    return line.endswith((".py", ".json", ".yaml", ".yml")) and Path(line).is_absolute()


def _meant(key: str, near: list[str]) -> str:
    if near:
        return f": did you mean '{near[0]}'?"
    if key in ELSEWHERE:
        return f": the value belongs to {ELSEWHERE[key]}."
    close = difflib.get_close_matches(key, MEANT, n=1, cutoff=0.6)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return (
        f": it is no key of the runner and no variable of the config that another line reads.{hint}"
    )


def _check_options(config: Config, options: Iterable[str]) -> None:
    """Options change the config after its lines were evaluated: a variable then changes nothing.

    Raises:
        UserError: an option sets a top-level key that the runner does not read.
    """
    for option in options:
        key = option.partition(".")[0]
        if key in RUNNER_KEYS:
            continue
        if key == "data_root" and config.get("default_scope") in ("mmdet", "mmseg"):
            continue  # own_data.follow_data_root lets it reach the data sets
        if key in config:
            raise UserError(
                f"--cfg-options {option}: '{key}' is a variable of the config, which was used when "
                f"the config was read: set the keys that it goes into, or write a config that "
                f"inherits this one."
            )
        near = difflib.get_close_matches(key, MEANT, n=1, cutoff=0.85)
        raise UserError(f"--cfg-options sets '{key}', which nothing reads{_meant(key, near)}")
