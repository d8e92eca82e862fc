#!/usr/bin/env python
"""Pictures of what a pretrained model does."""

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.checkpoint import load_strict
from mmvitssl.engine import launch
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.registry import MODELS
from mmvitssl.visualization.reconstruction import draw_reconstructions


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    draw = commands.add_parser(
        "reconstruction", help="original | masked | reconstruction, a row an image"
    )
    draw.add_argument("config")
    draw.add_argument("checkpoint", help="of the whole pretraining model")
    draw.add_argument("images", nargs="+", metavar="IMAGE")
    draw.add_argument("--out", default="work_dirs/pictures", help="folder for the pictures")
    draw.add_argument("--seed", type=int, default=0, help="of the masks")
    draw.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    return parser.parse_args()


def build(args: argparse.Namespace) -> Any:
    """The model of the config with the weights of the checkpoint."""
    config = launch.read_config(args.config, args.cfg_options)
    launch.prepare_scope(config)
    for image in args.images:
        if not Path(image).is_file():
            raise launch.UserError(f"There is no image {Path(image).absolute()}.")
    model = MODELS.build(config.model)
    if not isinstance(model, Pretrainer):
        raise launch.UserError(f"{args.config} describes a {type(model).__name__}, no Pretrainer.")
    model.load_frozen()
    load_strict(model, args.checkpoint)
    return model


def main() -> None:
    args = parse_args()
    with launch.building():
        model = build(args)
        files = draw_reconstructions(model, args.images, args.out, args.seed)
    for path in files:
        print(f"wrote {path}")


if __name__ == "__main__":
    launch.run_or_explain(main)
