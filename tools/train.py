#!/usr/bin/env python
"""Train from a config: pretraining, and mmdet and mmseg configs alike."""

from __future__ import annotations

import argparse
import os

from mmengine.config import DictAction
from mmengine.runner import Runner

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.engine import launch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file")
    parser.add_argument("--work-dir", help="folder for logs and checkpoints")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CKPT|auto",
        help="go on from a checkpoint; without a path from the last one of the work folder",
    )
    parser.add_argument("--amp", choices=("bf16", "fp16"), help="mixed precision")
    parser.add_argument("--compile", action="store_true", help="torch.compile the encoders")
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate by the real over the config's batch size",
    )
    parser.add_argument(
        "--pretrained", metavar="CKPT", help="load this encoder, strictly, before training"
    )
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE", help="change the config"
    )
    parser.add_argument("--launcher", choices=launch.LAUNCHERS, default="none")
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return args


def prepare(args: argparse.Namespace) -> Runner:
    """Everything that can be wrong with a config is found here, before the first step."""
    config = launch.read_config(args.config, args.cfg_options)
    launch.default_work_dir(config, args.config, args.work_dir)
    if config.get("train_dataloader") is None:
        raise launch.UserError(f"{args.config} has no train_dataloader to train on.")
    launch.set_precision(config, args.amp)
    if args.auto_scale_lr:
        launch.set_auto_scale_lr(config)
    launch.set_resume(config, args.resume)
    config.setdefault("randomness", dict(seed=0))
    launch.check_data(config, ("train_dataloader", "val_dataloader"))
    launch.set_devices(config, args.launcher)
    launch.prepare_scope(config)
    runner = launch.build_runner(config)
    launch.build_training(runner)
    launch.check_target(runner)
    launch.check_views(runner)
    launch.check_resume(runner)
    if args.pretrained:
        launch.load_pretrained(runner, args.pretrained)
    if args.compile:
        launch.compile_encoders(runner)
    return runner


def main() -> None:
    args = parse_args()
    with launch.building():
        runner = prepare(args)
    runner.train()
    launch.link_last(runner.work_dir)


if __name__ == "__main__":
    launch.run_or_explain(main)
