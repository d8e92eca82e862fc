"""``--arch``, ``--patch-size``, ``--image-size``, ``--epochs``, ``--batch-size`` and ``--data``.

Each is one key of ``--cfg-options``, or, for the data, the key of each data set. A config to which
one does not apply refuses it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmvitssl.engine.dataset_tree import config_leaves
from mmvitssl.engine.errors import UserError
from mmvitssl.engine.image_size import encoder_of

NAMES = ("arch", "patch_size", "image_size", "epochs", "batch_size", "data")
DENSE = ("mmdet", "mmseg")
CLASSES = "model.head.num_classes"
PARTS = {"train_dataloader": "train", "val_dataloader": "val", "test_dataloader": "val"}


def add_shorthands(options: argparse.ArgumentParser) -> None:
    """The options of programs that train."""
    group = options.add_argument_group("sizes, said once: what depends on them follows")
    group.add_argument("--arch", help="of the encoder: tiny, small, base, large or huge")
    group.add_argument("--patch-size", type=int, metavar="PIXELS", help="of the encoder")
    group.add_argument(
        "--image-size", type=int, nargs="+", metavar="PIXELS",
        help="side, or height and width, of pretraining and classification",
    )  # fmt: skip
    group.add_argument("--epochs", type=int, help="train_cfg.max_epochs; schedules follow")
    group.add_argument("--batch-size", type=int, help="images per process and step")
    group.add_argument(
        "--data", metavar="FOLDER",
        help="images; with train and val inside, a folder per class each, for classification; the "
        "data set's root for detection and segmentation",
    )  # fmt: skip


def shorthands_of(args: argparse.Namespace) -> dict[str, Any]:
    """Those that the command line gives."""
    given = {name: getattr(args, name, None) for name in NAMES}
    return {name: value for name, value in given.items() if value is not None}


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _encoder(config: Config, path: str, name: str) -> tuple[str, Any]:
    """The encoder of any kind of model."""
    found = encoder_of(config)
    if found is not None:
        return found
    backbone = (config.get("model") or {}).get("backbone") or {}
    if name == "arch" and isinstance(backbone.get("encoder"), dict):
        return "model.backbone.encoder", backbone["encoder"]
    if isinstance(backbone.get("encoder"), dict):
        what = {
            "patch_size": "the strides of its pyramid and heads are made for its patch size",
            "image_size": "its pipelines resize images to many sizes",
        }[name]
        raise UserError(
            f"{_option(name)} does not apply to {path}, a detector or segmentor: {what}."
        )
    raise UserError(f"{_option(name)} does not apply to {path}, whose model has no encoder.")


def _epochs(config: Config, path: str, number: int) -> dict[str, Any]:
    loop = config.get("train_cfg") or {}
    if not loop:
        raise UserError(f"--epochs does not apply to {path}, which trains nothing.")
    if "max_epochs" not in loop:
        raise UserError(
            f"--epochs does not apply to {path}, which counts iterations "
            f"(max_iters={loop.get('max_iters')}): use --cfg-options train_cfg.max_iters=N."
        )
    return {"train_cfg.max_epochs": number}


def _data(config: Config, path: str, folder: str) -> Iterator[tuple[str, Any]]:
    """Keys of all data sets that read images, and the number of classes of a classifier."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"--data {folder}: there is no such folder.")
    if config.get("default_scope") in DENSE:
        yield "data_root", str(root)
        return
    labelled = (config.get("model") or {}).get("type") == "ImageClassifier"
    for part, inside in PARTS.items():
        loader = config.get(part) or {}
        for field, dataset in config_leaves(loader.get("dataset"), f"{part}.dataset"):
            place = root / inside if labelled else root
            if not place.is_dir():
                raise UserError(
                    f"--data {folder}: {path} trains and tests on labels, and there is no folder "
                    f"{place}: it needs {root / 'train'} and {root / 'val'} with a folder for each "
                    f"class."
                )
            kind = "LabelledFolder" if labelled else "ImageFolder"
            same = dataset.get("type") == kind
            keys = [key for key in dataset if key == "pipeline" or (same and key != "classes")]
            kept = {key: dataset[key] for key in keys}
            yield field, {"_delete_": True, **kept, "type": kind, "root": str(place)}
    if labelled:
        folders = [path for path in (root / "train").iterdir() if path.is_dir()]
        yield CLASSES, sum(not path.name.startswith(".") for path in folders)


def with_shorthands(
    config: Config, path: str, options: Mapping[str, Any], short: Mapping[str, Any]
) -> dict[str, Any]:
    """The options of ``--cfg-options`` and those that shorthands stand for.

    Args:
        config: as read, without options.
        path: of its file, for messages.
        options: by dotted key.
        short: values by the names of :data:`NAMES`.

    Raises:
        UserError: a shorthand does not apply, is no size, or contradicts an option.
    """
    expanded: dict[str, Any] = {}
    for name, value in short.items():
        if isinstance(value, int) and value < 1:
            raise UserError(f"{_option(name)} {value} must be 1 or more.")
        if name in ("arch", "patch_size", "image_size"):
            field, _ = _encoder(config, path, name)
            if name == "image_size" and not isinstance(value, int):
                if len(value) > 2 or min(value) < 1:
                    raise UserError("--image-size takes one number of pixels, or height and width.")
                value = value[0] if len(value) == 1 else tuple(value)
            new = {f"{field}.{name}": value}
        elif name == "epochs":
            new = _epochs(config, path, value)
        elif name == "batch_size":
            new = {"train_dataloader.batch_size": value}
        else:
            new = dict(_data(config, path, value))
            if CLASSES in options:
                new.pop(CLASSES, None)
        for key, mine in new.items():
            if key in options and options[key] != mine:
                raise UserError(
                    f"{_option(name)} {value} and --cfg-options {key}={options[key]} contradict: "
                    f"give one of them."
                )
        expanded.update(new)
    return {**expanded, **options}
