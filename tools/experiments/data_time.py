#!/usr/bin/env python
"""CPU time per batch of a study's run: its pipeline, and images that stay decoded in memory.

Both make the same views. They run in turn, on one core, without a model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.datasets import EpochSampler, collate_views
from mmvitssl.engine import launch
from mmvitssl.registry import DATASETS, MODELS
from studying.plan import read_study
from studying.pretraining import pretraining_config
from studying.resident import resident


def batches(config: Config) -> Iterator[Any]:
    """Views as the model gets them, without end."""
    dataset: Any = DATASETS.build(config.train_dataloader.dataset)
    sampler = EpochSampler(dataset, seed=0, infinite=True)
    loader: Any = DataLoader(
        dataset, config.train_dataloader.batch_size, sampler=sampler, collate_fn=collate_views
    )
    preprocessor: Any = MODELS.build(config.model.data_preprocessor)
    for batch in loader:
        yield preprocessor(batch, training=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", help="study file")
    parser.add_argument("runs", nargs="+", help="names of runs")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of data files")
    parser.add_argument("--repeat", type=int, default=20, help="batches of each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    study = read_study(args.study)
    for name in args.runs:
        config = pretraining_config(study, study.find(name), 0, args.data_root)
        init_default_scope(launch.prepare_scope(config))
        begin = time.process_time()
        sources = [batches(config), batches(resident(config))]
        for source in sources:
            next(source)
        built = time.process_time() - begin
        times: list[list[float]] = [[], []]
        for number in range(2 * args.repeat):
            begin = time.process_time()
            next(sources[number % 2])
            times[number % 2].append(1000 * (time.process_time() - begin))
        before, after = map(median, times)
        print(
            f"{name}: {before:.0f} ms per batch by the pipeline, {after:.0f} ms resident: "
            f"{before / after:.1f} times as fast; {built:.0f} s to decode all images once",
            flush=True,
        )


if __name__ == "__main__":
    launch.run_or_explain(main)
