#!/usr/bin/env python
"""A first study on CIFAR-10: pretrain a small ViT by several methods side by side, and probe them.

study.py --out FILE [--limit S] [--methods ...] [--seeds ...] [--epochs N | --steps N]. All runs
share the GPU as processes; images stay on it as uint8 and are augmented there in batches. Without
--steps every run first times some steps; then all train for as many epochs as the slowest can in
the time. FILE gets a JSON line per run: accuracies in % of k nearest neighbours (k = 20) and of
logistic regression. Exit status 1 where a run failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools"), str(ROOT / "tools/gpu")]

import torch  # noqa: E402

from gpu_study.data import data_folder, read_part  # noqa: E402
from gpu_study.models import METHODS  # noqa: E402
from gpu_study.processes import MARK, Study  # noqa: E402


def parse_args() -> argparse.Namespace:
    seconds = float(os.environ.get("STAGE_SECONDS", 300))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="/tmp/out/study.jsonl")
    parser.add_argument("--limit", type=float, default=seconds, help="seconds, all")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=40, help="at most; fewer where time is short")
    parser.add_argument("--steps", type=int, help="exactly so many steps, without timing any first")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--images", type=int, default=25000)
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument(
        "--data", help="folder of cifar10_train.npz and cifar10_test.npz; default: .gpu or data",
    )  # fmt: skip
    parser.add_argument("--folder", default="/tmp/study", help="for what the processes exchange")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--end", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name in ("epochs", "steps", "batch", "images", "queries", "depth"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, got {value}")
    return args


def one_run(args: argparse.Namespace) -> None:
    """The run of this process; its result, or its error, is one line of the output."""
    try:
        from gpu_study.training import run

        line = run(args)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
        text = f"{type(error).__name__}: {error}"[:500]
        line = {"run": args.run, "seed": args.seeds[0], "error": text, "where": where}
    print(MARK + json.dumps(line), flush=True)


def main() -> int:
    args = parse_args()
    if args.run:
        one_run(args)
        return 0
    try:
        data = data_folder(args.data, [ROOT / ".gpu", ROOT / "data"])
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    study = Study(args, __file__, time.monotonic() + args.limit)
    study.folder.mkdir(parents=True, exist_ok=True)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    study.forget_plan()
    train, labels = read_part(data, "train", args.images)
    test, answers = read_part(data, "test", args.queries)
    args.images = len(train)
    content = {"train": train, "train_labels": labels, "test": test, "test_labels": answers}
    torch.save(content, study.folder / "data.pt")
    if torch.cuda.is_available() or os.environ.get("PARALLEL"):
        study.at_once()
    else:
        study.one_by_one()
    print(study.table())
    return int(any("error" in line for line in study.lines))


if __name__ == "__main__":
    sys.exit(main())
