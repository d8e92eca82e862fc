"""Real configs, data and processes for the tests of the programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.test_tools import forked

ROOT = Path(__file__).resolve().parents[2]


def inherited(path: Path, folder: Path, text: str = "") -> Path:
    """A config of the user's own in ``folder``, which inherits a shipped one by package name."""
    mine = folder / "mine.py"
    base = path.resolve().relative_to(ROOT / "configs")
    mine.write_text(f"_base_ = 'mmvitssl::{base}'\n{text}")
    return mine


PRETRAIN = """
_base_ = ['{root}/configs/_base_/models/mocov3_vit.py', '{root}/configs/_base_/default_runtime.py']
model = dict(
    encoder=dict(arch=dict(embed_dim=32, depth=4, num_heads=2), image_size=32, patch_size=8),
    tasks=dict(
        contrastive=dict(
            projector=dict(in_channels=32, hidden_channels=64, out_channels=16),
            predictor=dict(in_channels=16, hidden_channels=64, out_channels=16)),
        reconstruction=dict(
            type='Reconstruction', levels=(0, 1, 2, 3),
            neck=dict(type='MultiHierarchyFusion', in_channels=32, width=16, patch_size=8),
            head=dict(type='PixelLoss'))),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(contrastive='classification', reconstruction='laplace')))
views = [dict(num=2, transforms=[
    dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0)),
    dict(type='ColorJitter', brightness=0.4, p=0.8), dict(type='RandomFlip')])]
pipeline = [
    dict(type='LoadImage'), dict(type='MultiView', views=views), dict(type='PackViews')]
train_dataloader = dict(
    batch_size={batch}, num_workers={workers}, drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(type='ImageFolder', root='{data}', pipeline=pipeline))
test_dataloader = dict(
    batch_size=4, sampler=dict(type='EpochSampler', shuffle=False),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(type='ImageFolder', root='{data}', pipeline=pipeline))
test_evaluator = dict(type='PretextMetric')
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.1),
    paramwise_cfg=dict(custom_keys={{'balancer': dict(lr_mult=5.0, decay_mult=0.0)}}))
auto_scale_lr = dict(base_batch_size=64, enable=False)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs={epochs})
param_scheduler = [dict(
    type='CosineAnnealingLR', by_epoch=True, begin=0, convert_to_iter_based=True)]
custom_hooks = [dict(type='MomentumUpdateHook'), dict(type='ReduceLogsHook')]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1))
log_processor = dict(window_size=1)
"""


def write_config(folder: Path, data: Path, **settings: Any) -> Path:
    """A pretraining config for the tiny RePre on MoCo v3."""
    values = {"root": ROOT, "data": data, "batch": 4, "workers": 0, "epochs": 2, **settings}
    path = folder / "config.py"
    path.write_text(PRETRAIN.format(**values))
    return path


# one thread, so that a number does not depend on how many another process was given
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


TIMEOUT = 1200


def run(*command: str | Path, ok: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command from the repository root; its output in one string.

    A Python file is run in a process that has the imports already.
    """
    parts, environment = [str(part) for part in command], {**ENVIRONMENT, **env}
    if parts[0] == sys.executable and parts[1].endswith(".py"):
        done = forked.run(parts[1:], ROOT, environment, TIMEOUT)
    else:
        done = subprocess.run(
            parts, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=environment, timeout=TIMEOUT,
        )  # fmt: skip
    assert not ok or done.returncode == 0, done.stdout[-6000:]
    return done


def train(*arguments: str | Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, ROOT / "tools/train.py", *arguments, ok=ok)


def test(*arguments: str | Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, ROOT / "tools/test.py", *arguments, ok=ok)


test.__test__ = False  # type: ignore[attr-defined]  # a program, no test


def logged(work_dir: Path, run_number: int = -1) -> list[dict[str, float]]:
    """Scalars of one of the runs in a work folder."""
    files = sorted(work_dir.glob("*/vis_data/scalars.json"))
    return [json.loads(line) for line in files[run_number].read_text().splitlines()]


def value(output: str, metric: str) -> float:
    """A number in the table that tools/test.py prints."""
    found = re.search(rf"{re.escape(metric)} +│ +([-\d.]+)", output)
    assert found, output[-3000:]
    return float(found.group(1))
