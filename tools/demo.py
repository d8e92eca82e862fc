#!/usr/bin/env python
"""Photographs -> RePre on SimCLR -> Mask R-CNN and UperNet -> work_dirs/demo/report.html."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from rich.table import Table

import mmvitssl.compat  # noqa: F401
from demo.job import PRETRAIN_CONFIG, DemoJob, Sizes
from demo.outcome import claims, results_table
from demo.report import write_report
from demo.steps import StepFailed, StepRunner, explain

ROOT = Path(__file__).resolve().parent.parent
TINY = Sizes(train=8, val=4, pretrain=256, epochs=1, iterations=5)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo"))
    parser.add_argument(
        "--tiny", action="store_true", help="a few steps of everything, to see that it runs"
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="repeat all of it with so many seeds (default: 1)"
    )
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"--seeds must be at least 1, not {args.seeds}.")
    return args


def make_jobs(work_dir: Path, sizes: Sizes, seeds: int) -> list[DemoJob]:
    """A job per seed; the first lies in the folder itself."""
    folders = [work_dir, *(work_dir / f"seed{seed}" for seed in range(1, seeds))]
    return [DemoJob(folder, sizes, seed) for seed, folder in enumerate(folders)]


def show(jobs: list[DemoJob], batch: int) -> None:
    header, rows = results_table(jobs)
    table = Table(*header)
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    for words, value, holds in claims(jobs, batch):
        console.print(f"{'yes' if holds else 'NO '}  {words}: {value}")


def main() -> None:
    args = parse_args()
    work_dir = args.work_dir if args.work_dir.is_absolute() else ROOT / args.work_dir
    if work_dir.is_relative_to(ROOT):
        work_dir = work_dir.relative_to(ROOT)
    sizes = TINY if args.tiny else Sizes()
    runner = StepRunner(ROOT / work_dir / "steps", cwd=ROOT)
    batch = Config.fromfile(ROOT / PRETRAIN_CONFIG).train_dataloader.batch_size
    try:
        steps = [step for job in make_jobs(work_dir, sizes, args.seeds) for step in job.steps()]
        runner.run(steps)
    except StepFailed as error:
        explain(error)
        sys.exit(1)
    jobs = make_jobs(ROOT / work_dir, sizes, args.seeds)
    report = write_report(jobs, runner, steps, batch)
    show(jobs, batch)
    print(f"\nreport: {report}")


if __name__ == "__main__":
    main()
