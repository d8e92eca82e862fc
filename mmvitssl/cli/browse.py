"""Pictures of what a pretraining config shows its model: views, masks, windows and corruptions."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import DictAction
from mmengine.registry import DefaultScope
from torch import Tensor

from mmvitssl.apis.recipes import config_path
from mmvitssl.datasets.collate import collate_views
from mmvitssl.datasets.sampler import SampleKey
from mmvitssl.engine import own_data
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.launch import UserError, building, check_data, prepare_scope
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.algorithms.pretrainer import draw_pictures
from mmvitssl.models.display import displayed
from mmvitssl.registry import DATASETS, MODELS
from mmvitssl.visualization.sheets import captioned
from mmvitssl.writing import whole


def view_sheets(batch: dict[str, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The views of a batch as pictures: one sheet per size of view, a row per image."""
    by_size: dict[tuple[int, ...], dict[str, Tensor]] = {}
    for number, view in enumerate(batch["views"]):
        picture = displayed(view.float() / 255)
        by_size.setdefault(tuple(view.shape[-2:]), {})[f"view {number}"] = picture
    for (height, width), pictures in by_size.items():
        yield f"views_{height}x{width}", pictures


def task_sheets(config: Any, batch: dict[str, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """What each task hides, moves or changes; predictions are those of random weights."""
    settings = config.model.to_dict()
    with DefaultScope.overwrite_default_scope(config.default_scope):
        model = MODELS.build(settings)
    if not isinstance(model, Pretrainer):
        return
    model.load_frozen()
    for task, pictures in draw_pictures(model, batch).items():
        if pictures:
            yield task, pictures


def options() -> argparse.ArgumentParser:
    """Options of ``mmvitssl browse``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="a file, or the name of a shipped config (mmvitssl models)")
    parser.add_argument("--images", nargs="+", metavar="FOLDER",
                        help="folder of images in place of the config's")  # fmt: skip
    parser.add_argument("--number", type=int, default=6, help="images to show")
    parser.add_argument("--epoch", type=int, default=0, help="whose random draws are shown")
    parser.add_argument("--out", default="work_dirs/pictures/browse", help="folder")
    parser.add_argument("--views-only", action="store_true", help="build no model")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    return parser


def browse(args: argparse.Namespace) -> Iterator[Path]:
    """Write the sheets; yields their files."""
    config = read_config(config_path(args.config), args.cfg_options)
    own_data.follow_data_root(config, args.cfg_options)
    loader: Any = config.get("train_dataloader") or {}
    steps = [str(step.get("type")) for step in (loader.get("dataset") or {}).get("pipeline", ())]
    if "MultiView" not in steps:
        raise UserError(
            f"{args.config} has no train_dataloader.dataset with a MultiView to show: browse is "
            f"for pretraining, probes and fine-tuning of this package."
        )
    prepare_scope(config)
    dataset = loader.dataset
    if args.images:
        if len(args.images) > 1:
            raise UserError("--images takes one folder.")
        dataset = dict(type="ImageFolder", root=args.images[0], pipeline=dataset.pipeline)
    else:
        check_data(config, ("train_dataloader",))
    images: Any = DATASETS.build(dataset)
    seed = int((config.get("randomness") or {}).get("seed") or 0)
    stride = max(len(images) // args.number, 1)
    keys = [SampleKey(i * stride, args.epoch, seed) for i in range(min(args.number, len(images)))]
    batch = collate_views([images[key] for key in keys])
    out = Path(args.out)
    sheets = list(view_sheets(batch))
    if not args.views_only:
        sheets += task_sheets(config, batch)
    for name, pictures in sheets:
        with whole(out / f"{name}.png") as part:
            captioned(pictures, len(keys)).save(part)
        yield out / f"{name}.png"


def main() -> None:
    """Draw as the command line says."""
    args = options().parse_args()
    if args.number < 1:
        raise UserError(f"--number {args.number} must be 1 or more.")
    torch.manual_seed(0)
    with building():
        for path in browse(args):
            print(f"wrote {path}")
