"""Evaluate a checkpoint: pretext losses, top-1 and top-5, box and mask AP, mIoU, by config."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.evaluator import DumpResults
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from mmvitssl.apis.recipes import config_path
from mmvitssl.checkpoint import check_weights_file, load_strict
from mmvitssl.engine import (
    dense_checks,
    label_checks,
    launch,
    own_data,
    training,
    weights,
)
from mmvitssl.engine.config_files import read_config
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.writing import write_text


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint of the whole model")
    parser.add_argument("--work-dir", help="folder for logs")
    parser.add_argument(
        "--out", metavar="FILE", help="write the metrics (.json) or also the predictions (.pkl)"
    )
    parser.add_argument("--show-dir", help="draw the predictions into this folder")
    training.add_common(parser)
    args = training.parse(parser)
    args.config = config_path(args.config)
    return args


def check_out(out: str | None) -> None:
    if out is not None and Path(out).suffix not in (".json", ".pkl"):
        raise launch.UserError(f"--out {out} must end in .json (metrics) or .pkl (predictions).")


def draw_into(config: Config, show_dir: str) -> None:
    """Add the hook that draws predictions, or pictures of pretext tasks."""
    folder = str(Path(show_dir).absolute())
    drawing = config.get("default_hooks", {}).get("visualization", {})
    hook: dict[str, Any] = dict(type="mmvitssl.PredictionPicturesHook", folder=folder)
    scope = config.get("default_scope")
    if scope == "mmdet":
        config.default_hooks.visualization = {**hook, "score_thr": drawing.get("score_thr", 0.3)}
    elif scope == "mmseg":
        config.default_hooks.visualization = {**hook, "suffix": ".png"}
    else:
        hook = dict(type="TaskPicturesHook", folder=folder)
        config.custom_hooks = [*config.get("custom_hooks", []), hook]


def write_metrics(metrics: dict[str, Any], out: str | None) -> None:
    table = Table("metric", "value")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    Console().print(table)
    if out is not None:
        numbers = {name: float(value) for name, value in metrics.items()}
        write_text(Path(out).with_suffix(".json"), json.dumps(numbers))


def prepare(args: argparse.Namespace) -> Runner:
    """Everything that can be wrong with a config is found here, before the first batch."""
    check_out(args.out)
    config = read_config(args.config, args.cfg_options)
    own_data.follow_data_root(config, args.cfg_options)
    launch.default_work_dir(config, args.config, args.work_dir)
    if config.get("test_dataloader") is None:
        raise launch.UserError(f"{args.config} has no test_dataloader to test on.")
    check_weights_file(args.checkpoint)
    launch.check_data(config, ("test_dataloader",))
    launch.set_devices(config, args.launcher)
    launch.follow_workers(config)
    launch.prepare_scope(config)
    weights.drop_weights(config)
    config.setdefault("randomness", dict(seed=0))
    if config.get("runner_type") == "FlexibleRunner":  # shards are for training
        config.pop("runner_type")
        config.pop("strategy", None)
    if args.show_dir and config.model.type.endswith("ImageClassifier"):
        raise launch.UserError(
            "--show-dir: a classifier draws nothing; --out FILE.pkl keeps scores."
        )
    if args.show_dir:
        draw_into(config, args.show_dir)
    own_data.read_classes(config, args.cfg_options)
    runner = launch.build_runner(config)
    dense_checks.check_files(config, ("test",))
    label_checks.check_classifier(runner, ("test",))
    dense_checks.check_dense(runner, ("test",))
    dense_checks.check_checkpoint(runner, args.checkpoint, "test")
    model: Any = launch.bare_model(runner)
    if isinstance(model, Pretrainer):
        model.load_frozen()
    load_strict(model, args.checkpoint)
    label_checks.check_trained_classes(runner, args.checkpoint)
    evaluator = runner.test_loop.evaluator
    if args.out and args.out.endswith(".pkl"):
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        evaluator.metrics.append(DumpResults(out_file_path=args.out))
    return runner


def main() -> None:
    args = parse_args()
    with launch.building():
        runner = prepare(args)
    metrics = runner.test()
    if get_rank() == 0:
        write_metrics(metrics, args.out)
