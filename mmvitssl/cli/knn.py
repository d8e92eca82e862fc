"""Accuracy of nearest neighbours, and of logistic regression, on the features of a checkpoint."""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table

from mmvitssl.apis.labelled import folder_accuracies
from mmvitssl.apis.recipes import config_path
from mmvitssl.checkpoint import check_weights_file
from mmvitssl.checkpoint.named import SOURCES
from mmvitssl.engine import launch
from mmvitssl.engine.image_size import resolve_image_size
from mmvitssl.evaluation.probes import FeatureProbe
from mmvitssl.writing import write_text


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "config",
        help="such as probe/knn_vit-small_in1k.py; or a folder with one sub-folder per class "
        "(every fifth image is a query), or with train and val, which have them",
    )
    parser.add_argument(
        "checkpoint", nargs="?", help="of a pretraining, or official; 'random' for none"
    )
    parser.add_argument("--from", dest="from_", metavar="CKPT", help="the checkpoint, by name")
    parser.add_argument(
        "--source",
        choices=SOURCES,
        help="which encoder of it; unless said otherwise DINO's teacher, else the online one",
    )
    parser.add_argument("--linear", action="store_true", help="fit logistic regression too")
    parser.add_argument("--amp", choices=("bf16",), help="encode in mixed precision")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", metavar="FILE.json", help="write the accuracies")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    args = parser.parse_args()
    if (args.checkpoint is None) == (args.from_ is None):
        parser.error("name one checkpoint: knn CONFIG CKPT, or knn FOLDER --from CKPT")
    args.checkpoint = args.checkpoint or args.from_
    return args


def prepare(args: argparse.Namespace) -> FeatureProbe:
    """Everything that can be wrong is found here, before an image is encoded."""
    args.config = config_path(args.config)
    if not Path(args.config).is_file():
        raise launch.UserError(f"There is no config {Path(args.config).absolute()}.")
    if args.checkpoint != "random":
        check_weights_file(args.checkpoint)
    config: Any = Config.fromfile(args.config)
    config.merge_from_dict(args.cfg_options or {})
    resolve_image_size(config)
    init_default_scope(launch.prepare_scope(config))
    probe = FeatureProbe.from_config(config, args.amp or "fp32", args.linear)
    if args.checkpoint != "random":
        probe.load(args.checkpoint, args.source, print)
    probe.encoder.to(args.device)
    return probe


def of_folder(args: argparse.Namespace) -> dict[str, float]:
    """Accuracies on a labelled folder, by the encoder that the checkpoint describes."""
    for option in ("cfg_options", "amp"):
        if getattr(args, option):
            raise launch.UserError(f"--{option.replace('_', '-')} belongs to a config, not to a "
                                   f"folder.")  # fmt: skip
    if args.checkpoint == "random":
        raise launch.UserError("A folder needs a checkpoint, which says what its encoder is.")
    return folder_accuracies(args.config, args.checkpoint, args.linear, args.device, args.source)


def main() -> None:
    """Print and write accuracies as the command line says."""
    args = parse_args()
    if args.out and not args.out.endswith(".json"):
        raise launch.UserError(f"--out {args.out} must end in .json.")
    if Path(args.config).is_dir():
        with launch.building():
            accuracy = of_folder(args)
    else:
        with launch.building():
            probe = prepare(args)
        accuracy = probe.accuracies()
    table = Table("measure", "top-1")
    for name, value in accuracy.items():
        table.add_row(name, f"{value:.2%}")
    Console().print(table)
    if args.out:
        write_text(args.out, json.dumps(accuracy))
