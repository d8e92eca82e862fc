#!/usr/bin/env python
"""Pretrain choices of pretext tasks on CIFAR-10 for the same steps, and probe their features.

A run is a choice of tasks: ``contrast``, ``contrast+rotation``, ``all``, ``all:pareto`` (with a
balancer), or ``random`` (not trained). Every result is one line of a JSON-lines file; runs that the
file holds already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.engine import launch, training
from mmvitssl.evaluation.probes import FeatureProbe

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PRETRAINING = CONFIGS / "mtssl/cifar10/mtssl_vit-tiny-p4_1xb64-5k_cifar10.py"
PROBE = CONFIGS / "probe/knn_vit-tiny-p4_cifar10.py"
TRAIN_IMAGES, TEST_IMAGES, BATCH = 50000, 10000, 64
TASKS = ("contrast", "rotation", "colour", "place", "jigsaw", "paint")
SETS = {"all": TASKS, "figure": TASKS[:4]}
TOKENS = ("contrast", "rotation")
BALANCERS = {"pareto": "ParetoWeights", "uncertainty": "UncertaintyWeights"}
RUNS = (
    "random", *TASKS, "contrast+rotation", "contrast+colour", "contrast+place",
    "contrast+jigsaw", "contrast+paint", "figure", "all", "all:pareto",
)  # fmt: skip


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default="data/", help="folder of cifar10_{train,test}.npz")
    parser.add_argument("--runs", nargs="+", default=RUNS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0,))
    parser.add_argument("--iterations", type=int, default=5000, help="of a batch of 64")
    parser.add_argument("--images", type=int, default=50000, help="to pretrain on")
    parser.add_argument("--bank", type=int, default=50000, help="labelled images")
    parser.add_argument("--queries", type=int, default=10000, help="images to classify")
    parser.add_argument("--width", type=int, default=192, help="channels; heads have 64")
    parser.add_argument("--depth", type=int, default=12, help="blocks")
    parser.add_argument("--amp", choices=("bf16",))
    parser.add_argument("--work-dir", default="work_dirs/multitask_cifar10")
    parser.add_argument("--out", default="work_dirs/multitask_cifar10/results.jsonl")
    parser.add_argument("--table", action="store_true", help="print --out as a table, train none")
    return parser.parse_args(arguments)


def tasks_of(run: str) -> tuple[tuple[str, ...], str | None]:
    """Names of the tasks of a run, and its balancer.

    Raises:
        UserError: a task or balancer that does not exist.
    """
    names, _, balancer = run.partition(":")
    tasks = SETS.get(names) or tuple(names.split("+"))
    wrong = [name for name in tasks if name not in TASKS]
    if wrong or (balancer and balancer not in BALANCERS):
        raise launch.UserError(
            f"--runs {run}: use {', '.join(TASKS)} joined by +, {' or '.join(SETS)}, or random, "
            f"with :{' or :'.join(BALANCERS)} behind."
        )
    return tasks, balancer or None


def set_encoder(encoder: Any, width: int, depth: int) -> None:
    encoder.arch = dict(embed_dim=width, depth=depth, num_heads=max(1, width // 64))


def pretraining(args: argparse.Namespace, run: str, seed: int) -> Any:
    """The config of a run: the tasks chosen from the base config's."""
    config: Any = Config.fromfile(PRETRAINING)
    names, balancer = tasks_of(run)
    config.model.tasks = {name: config[name] for name in names}
    for task in config.model.tasks.values():
        part = task if "in_channels" in task else task.projector
        part.in_channels = args.width
    config.model.encoder.prefix_tokens = tuple(name for name in TOKENS if name in names)
    set_encoder(config.model.encoder, args.width, args.depth)
    if balancer:
        config.model.balancer = dict(type=BALANCERS[balancer])
    data = config.train_dataloader.dataset
    data.update(
        file=str(Path(args.data_root) / "cifar10_train.npz"), stride=TRAIN_IMAGES // args.images
    )
    config.train_dataloader.batch_size = BATCH
    warmup = args.iterations // 20
    config.train_cfg.max_iters = config.default_hooks.checkpoint.interval = args.iterations
    config.param_scheduler[0].end = config.param_scheduler[1].begin = max(warmup, 1)
    config.param_scheduler[1].end = args.iterations
    config.randomness = dict(seed=seed)
    config.model.seed = seed
    config.experiment_name = f"{run}-{seed}-{time.time_ns()}"
    return config


def train(args: argparse.Namespace, run: str, seed: int, folder: Path) -> None:
    """Train a run; its config stays beside its checkpoint and runs with tools/train.py too."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.py"
    pretraining(args, run, seed).dump(path)
    arguments = [str(path), "--work-dir", str(folder), "--resume"]
    if args.amp:
        arguments += ["--amp", args.amp]
    training.train(training.parser(None).parse_args(arguments))


def probe(args: argparse.Namespace, run: str, seed: int, folder: Path) -> dict[str, float]:
    """Accuracies of the mean of the patch tokens."""
    config: Any = Config.fromfile(PROBE)
    names = () if run == "random" else tasks_of(run)[0]
    set_encoder(config.encoder, args.width, args.depth)
    config.encoder.prefix_tokens = tuple(name for name in TOKENS if name in names)
    root = Path(args.data_root)
    # the files are sorted by class
    config.bank.update(file=str(root / "cifar10_train.npz"), stride=TRAIN_IMAGES // args.bank)
    config.queries.update(file=str(root / "cifar10_test.npz"), stride=TEST_IMAGES // args.queries)
    init_default_scope(launch.prepare_scope(config))
    torch.manual_seed(seed)
    features = FeatureProbe.from_config(config, args.amp or "fp32", linear=True)
    if run != "random":
        features.load(str(folder / "last.pth"))
    return features.accuracies()


def done(out: Path) -> set[tuple[str, int]]:
    lines = out.read_text().splitlines() if out.exists() else []
    return {(line["run"], line["seed"]) for line in map(json.loads, lines)}


def table(lines: Sequence[dict[str, Any]]) -> str:
    """A Markdown table: mean accuracy in per cent by run, with the least and greatest of seeds."""
    rows = ["| tasks | seeds | kNN, k = 20 | linear |", "| --- | --- | --- | --- |"]
    for run in dict.fromkeys(line["run"] for line in lines):
        cells = []
        for name in ("knn_20", "linear"):
            values = [100 * line[name] for line in lines if line["run"] == run]
            spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
            cells.append(f"{sum(values) / len(values):.1f}{spread}")
        rows.append(f"| {run} | {len(values)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_args(arguments)
    out = Path(args.out)
    if args.table:
        print(table([json.loads(line) for line in out.read_text().splitlines()]))
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    for run in args.runs:
        _ = run == "random" or tasks_of(run)
    for seed in args.seeds:
        for run in args.runs:
            if (run, seed) in done(out):
                continue
            start = time.perf_counter()
            folder = Path(args.work_dir) / f"{run.replace(':', '-')}_{seed}"
            if run != "random":
                train(args, run, seed, folder)
            line = {"run": run, "seed": seed, **probe(args, run, seed, folder)}
            line["seconds"] = round(time.perf_counter() - start)
            with out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)


if __name__ == "__main__":
    launch.run_or_explain(main)
