"""Detectors and segmentors that are killed go on with the images and draws that would have come."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from mmvitssl.checkpoint import load_file
from tests.test_tools.programs import train
from tests.test_transfer.own_data import coco, detector, masks, segmentor, write

pytestmark = pytest.mark.slow
LENGTH = 5
# crops and flips that are drawn from the workers' global generators; a checkpoint each iteration
LINES = f"""
train_cfg.update(max_iters={LENGTH}, val_interval=100)
default_hooks.update(checkpoint=dict(interval=1))
train_dataloader.update(num_workers=WORKERS, persistent_workers=WORKERS > 0)
custom_imports = dict(imports=['tests.test_tools.troubles'])
"""
KILL = "custom_hooks = [dict(type='mmvitssl.SignalAt', iteration={}, name='SIGKILL')]\n"
DROPS = "encoder.update(drop_path=0.5)\n"


def detection(folder: Path, more: str) -> Path:
    for part in ("train", "val"):
        write(folder, part, coco(folder, part, images=6))
    return detector(folder, folder, more=more)


def segmentation(folder: Path, more: str) -> Path:
    for part in ("train", "val"):
        masks(folder, part, 6)
    flips = (
        "data['pipeline'] = [*load, dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')]"
    )
    return segmentor(folder, folder, more=f"{more}{flips}\n")


@pytest.mark.parametrize(("make", "workers", "at"), [(detection, 2, 3), (segmentation, 0, 4)])
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(
    make: Any, workers: int, at: int, tmp_path: Path
) -> None:
    lines = LINES.replace("WORKERS", str(workers)) + DROPS
    whole = make(tmp_path, lines)
    train(whole, "--work-dir", tmp_path / "whole")
    killed = train(
        make(tmp_path, lines + KILL.format(at)), "--work-dir", tmp_path / "run", ok=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout[-3000:]
    train(make(tmp_path, lines), "--work-dir", tmp_path / "run", "--resume")
    ends = [load_file(tmp_path / name / "last.pth") for name in ("run", "whole")]
    for part in ("state_dict", "optimizer"):
        torch.testing.assert_close(ends[0][part], ends[1][part], rtol=0, atol=0)
