"""Pretext losses on processes with different numbers of images, or none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes

from mmvitssl.datasets.sampler import EpochSampler
from mmvitssl.evaluation import PretextMetric
from mmvitssl.models.data_preprocessor import ViewPreprocessor
from tests.builders import build_repre
from tests.test_models.test_distributed import free_port

WORLD, BATCH, SIZES = 2, 2, (5, 1, 4)


def batches(size: int, rank: int, world: int, round_up: bool = False) -> list[dict[str, Any]]:
    """What the loader of a process gives: every ``world``-th image, in batches of 2."""
    sampler = EpochSampler(
        range(size), shuffle=False, seed=0, round_up=round_up, rank=rank, world_size=world
    )
    images = torch.randint(
        0, 256, (2, size, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    keys = [key.index for key in sampler]
    chunks = [torch.tensor(keys[i : i + BATCH]) for i in range(0, len(keys), BATCH)]
    return [
        {"views": list(images[:, chunk]),
         "samples": {"index": chunk, "epoch": torch.zeros_like(chunk)}} for chunk in chunks
    ]  # fmt: skip


def results(size: int, rank: int, world: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    model = build_repre().eval()
    model.data_preprocessor = ViewPreprocessor()
    with torch.no_grad():
        return [model.test_step(batch)[0] for batch in batches(size, rank, world)]


def worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=WORLD
    )
    found = []
    for size in SIZES:
        metric = PretextMetric(collect_dir=f"{folder}/{size}")
        metric.process(None, results(size, rank, WORLD))
        found.append(metric.evaluate(size))
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_processes_with_other_numbers_of_images(tmp_path: Path) -> None:
    # forked: nothing here runs backward, and imports are there already
    arguments = (free_port(), str(tmp_path))
    start_processes(worker, arguments, nprocs=WORLD, start_method="fork")
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD)]
    assert found[0] == found[1]
    for size, metrics in zip(SIZES, found[0], strict=True):
        parts = [row for rank in range(WORLD) for row in results(size, rank, WORLD)]
        assert sorted(index for row in parts for index in row["index"]) == list(range(size))
        for name in ("raw_contrastive", "raw_reconstruction", "contrastive_accuracy"):
            mean = sum(row[name] * row["batch_size"] for row in parts) / size
            assert metrics[f"pretext/{name}"] == pytest.approx(mean, rel=1e-5)


def test_repeated_images_are_refused() -> None:
    rows = [dict(batch_size=2, index=index, raw_a=1.0) for index in ([0, 1], [2, 0])]
    with pytest.raises(ValueError, match=r"1 of 3 images more than once.*round_up=False"):
        PretextMetric().compute_metrics(rows)
    with pytest.raises(ValueError, match="no images"):
        PretextMetric().compute_metrics([])


def test_a_loss_that_is_not_a_number_stays_one() -> None:
    rows = [dict(batch_size=1, raw_a=1.0, a_error=math.nan, a_mean_colour_error=math.nan)] * 2
    metrics = PretextMetric().compute_metrics(rows)
    assert metrics["raw_a"] == 1.0
    assert math.isnan(metrics["a_error"]) and math.isnan(metrics["a_relative_error"])
