#!/usr/bin/env python
"""Photographs -> RePre on MoCo v3 -> Mask R-CNN and UperNet -> work_dirs/demo/report.html."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from rich.table import Table

import mmvitssl.compat  # noqa: F401
from mmvitssl.demo.job import PRETRAIN_CONFIG, DemoJob, Sizes
from mmvitssl.demo.report import claims, results_table, write_report
from mmvitssl.demo.steps import StepFailed, StepRunner, explain

ROOT = Path(__file__).resolve().parent.parent
TINY = Sizes(train=32, val=4, pretrain=11, epochs=1, iterations=5)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo"))
    parser.add_argument(
        "--tiny", action="store_true", help="a few steps of everything, to see that it runs"
    )
    return parser.parse_args()


def show(job: DemoJob, batch: int) -> None:
    header, rows = results_table(job)
    table = Table(*header)
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    for words, value, holds in claims(job, batch):
        console.print(f"{'yes' if holds else 'NO '}  {words}: {value}")


def main() -> None:
    args = parse_args()
    work_dir = args.work_dir if args.work_dir.is_absolute() else ROOT / args.work_dir
    if work_dir.is_relative_to(ROOT):
        work_dir = work_dir.relative_to(ROOT)
    job = DemoJob(work_dir, TINY if args.tiny else Sizes())
    runner = StepRunner(ROOT / work_dir / "steps", cwd=ROOT)
    batch = Config.fromfile(ROOT / PRETRAIN_CONFIG).train_dataloader.batch_size
    try:
        steps = job.steps()
        runner.run(steps)
    except StepFailed as error:
        explain(error)
        sys.exit(1)
    job = DemoJob(ROOT / work_dir, job.sizes)
    report = write_report(job, runner, steps, batch)
    show(job, batch)
    print(f"\nreport: {report}")


if __name__ == "__main__":
    main()
