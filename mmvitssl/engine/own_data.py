"""One option for a user's own data: ``--cfg-options data_root=FOLDER`` of a transfer config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmvitssl.config_tree import parts
from mmvitssl.engine.coco_checks import Leaf, leaves_of
from mmvitssl.engine.coco_file import read_coco
from mmvitssl.engine.dataset_tree import config_leaves

PARTS = ("train", "val", "test")
ROOT = "data_root"
SCOPES = ("mmdet", "mmseg")


def _moved(value: Any, old: str, new: str) -> Any:
    """A path, or paths inside of lists, that began with the old root."""
    if isinstance(value, str) and value.startswith(old):
        return new + value[len(old) :]
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, old, new) for item in value)
    return value


def follow_data_root(config: Config, options: Mapping[str, Any] | None) -> None:
    """Let ``--cfg-options data_root=FOLDER`` reach the data sets and evaluators of all loaders.

    In a config the variable stands for a path that the data sets already have when the option is
    read, so that MMEngine alone would change nothing. Paths with an option of their own stay.

    Args:
        config: as read, with the options.
        options: those of the command line.
    """
    if not options or ROOT not in options or config.get("default_scope") not in SCOPES:
        return
    new = str(options[ROOT]).rstrip("/") + "/"
    config[ROOT] = new
    moved = set()
    for part in PARTS:
        loader = config.get(f"{part}_dataloader") or {}
        for field, dataset in config_leaves(loader.get("dataset"), f"{part}_dataloader.dataset"):
            old = dataset.get(ROOT)
            if not old or f"{field}.{ROOT}" in options:
                continue
            moved.add(str(old).rstrip("/") + "/")
            for key, value in dataset.items():
                if f"{field}.{key}" not in options and key != ROOT:
                    dataset[key] = _moved(value, str(old), new)
            dataset[ROOT] = new
    for part in PARTS:
        evaluators = config.get(f"{part}_evaluator") or []
        for evaluator in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
            for key, value in evaluator.items():
                for old in moved if f"{part}_evaluator.{key}" not in options else ():
                    evaluator[key] = _moved(value, old, new)


def heads_of(model: Any) -> list[tuple[str, Any]]:
    """Parts of a model's config that state a number of classes, with their keys."""
    stated = parts(model, "model")
    return [(key, part) for key, part in stated if isinstance(part.get("num_classes"), int)]


def read_classes(config: Config, options: Mapping[str, Any] | None) -> None:
    """After ``data_root=FOLDER``, take classes that no one stated from the annotations.

    They are the categories of the training annotations, in their order; the heads' ``num_classes``
    follow unless they have an option of their own.

    Args:
        config: after :func:`follow_data_root`, its default scope's modules imported.
        options: those of the command line.

    Raises:
        UserError: the annotations cannot be read.
    """
    if not options or ROOT not in options or config.get("default_scope") != "mmdet":
        return
    leaves = [leaf for part in PARTS for leaf in leaves_of(config, part)]
    silent: list[Leaf] = [leaf for leaf in leaves if not leaf.stated]
    if not silent:
        return
    file = read_coco(silent[0].ann_file)
    if tuple(file.names) == silent[0].classes:
        return
    for leaf in silent:
        leaf.config["metainfo"] = {**(leaf.config.get("metainfo") or {}), "classes": file.names}
    widths = []
    for name, head in heads_of(config.model):
        field = f"{name}.num_classes"
        if field not in options:
            head["num_classes"] = len(file.names)
            widths.append(field)
    print_log(
        f"Classes of {Path(file.path)}: {', '.join(file.names)}. "
        f"{', '.join(widths)} = {len(file.names)}.",
        logger="current",
    )
