#!/usr/bin/env python
"""Run a study: pretrain every method of a grid with every seed, evaluate, write one JSON per run.

Runs whose JSON file under docs/results/runs has all evaluations are skipped, so what is committed
is never repeated. A run that was interrupted goes on from its last checkpoint. ``--report`` writes
tables and plots from the JSON files alone.

On a GPU, images of a packed file are decoded once and kept there as uint8, and augmented there;
``--resident`` does the same on a CPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import torch

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.engine import launch
from studying import report
from studying.plan import RESULTS, read_study
from studying.run import add_health, is_done, perform


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", help="study file, such as tools/experiments/studies/learning.py")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of data files")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/studies"))
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    parser.add_argument("--only", nargs="+", metavar="RUN", help="these runs; all by default")
    parser.add_argument("--seeds", nargs="+", type=int, help="these seeds; the study's by default")
    parser.add_argument(
        "--evaluations", nargs="+", metavar="NAME",
        help="these fine-tunings of the study; all by default. A later call adds others",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=int, default=1, help="runs at once: one core each, GPUs shared out evenly"
    )
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), help="where to train; by default a GPU if there is one"
    )
    parser.add_argument(
        "--resident", action="store_true", help="keep images decoded on a CPU too, not just on GPUs"
    )
    parser.add_argument("--report", action="store_true", help="write tables and plots; train none")
    parser.add_argument(
        "--health", action="store_true",
        help="measure RankMe and alpha-ReQ of finished runs that lack them, from their checkpoints",
    )  # fmt: skip
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)  # in this process
    return parser.parse_args()


def devices(choice: str | None) -> list[str]:
    """Values of CUDA_VISIBLE_DEVICES, one per device: GPUs, or the empty one of the CPU.

    Args:
        choice: 'cuda', 'cpu', or None: GPUs if there are any.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    number = torch.cuda.device_count() if choice != "cpu" and torch.cuda.is_available() else 0
    if choice == "cuda" and not number:
        raise launch.UserError("--device cuda: torch finds no GPU here; use --device cpu.")
    if not number:
        return [""]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:number] if visible else [str(index) for index in range(number)]


def start(args: argparse.Namespace, name: str, seed: int, gpu: str) -> subprocess.Popen[bytes]:
    """One run in a process of its own, on one core, and on a GPU unless ``gpu`` is empty."""
    command = [sys.executable, __file__, args.study, "--one", "--only", name, "--seeds", str(seed)]
    for option in ("data_root", "work_dir", "results", "jobs"):
        command += [f"--{option.replace('_', '-')}", str(getattr(args, option))]
    command += ["--device", "cuda" if gpu else "cpu"] + ["--resident"] * args.resident
    command += ["--evaluations", *args.evaluations] if args.evaluations else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": gpu}
    return subprocess.Popen(command, env=environment)


def run_all(args: argparse.Namespace) -> int:
    """Every run that is not done, ``--jobs`` at a time; how many failed."""
    study, places = read_study(args.study).evaluated(args.evaluations), devices(args.device)
    waiting = [
        (run.name, seed)
        for run, seed in study.select(args.only, args.seeds)
        if not is_done(study, study.record(run.name, seed, args.results))
    ]
    print(f"{study.name}: {len(waiting)} runs to do", flush=True)
    running: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
    used: dict[tuple[str, int], str] = {}
    failed = 0
    try:
        while waiting or running:
            while waiting and len(running) < args.jobs:
                key = waiting.pop(0)
                load = Counter(used[other] for other in running)
                used[key] = min(places, key=lambda place: load[place])
                running[key] = start(args, *key, used[key])
            time.sleep(0.5)
            for key in [key for key, process in running.items() if process.poll() is not None]:
                failed += running.pop(key).returncode != 0
    finally:
        for process in running.values():
            process.terminate()
    return failed


def main() -> None:
    args = parse_args()
    study = read_study(args.study)
    if args.report:
        report.write(study, args.results)
    elif args.health:
        data = args.data_root.absolute()
        for path in add_health(study, data, args.work_dir, args.results):
            print(f"completed {path}", flush=True)
    elif args.one:
        ((run, seed),) = study.select(args.only, args.seeds)
        begin = time.monotonic()
        study = study.evaluated(args.evaluations)
        study = dataclasses.replace(study, resident=args.resident or args.device == "cuda")
        path = perform(
            study, run, seed, args.data_root.absolute(), args.work_dir, args.results, args.jobs
        )
        print(f"{path} after {time.monotonic() - begin:.0f} s", flush=True)
    elif failed := run_all(args):
        raise launch.UserError(f"{failed} runs failed; their logs are in {args.work_dir}.")


if __name__ == "__main__":
    launch.run_or_explain(main)
