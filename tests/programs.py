"""Running the command-line programs, and small data and configs for them."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.builders import repre_config

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 300  # seconds; each process here takes some ten


def run_process(
    *command: Any, cwd: Path, status: int | None = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a real process; its output is shown if it does not end with ``status``."""
    names = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable, **environment}
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=names,
        text=True,
        capture_output=True,
        timeout=TIMEOUT,
    )
    if status is not None and result.returncode != status:
        pytest.fail(f"{command} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
    return result


def run_tool(
    program: str, *arguments: Any, cwd: Path, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run ``tools/<program>`` with this interpreter."""
    return run_process(sys.executable, ROOT / "tools" / program, *arguments, cwd=cwd, status=status)



def call_tool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], program: str, *args: Any
) -> str:
    """Run a program inside this process, which spares the imports; returns its error message."""
    monkeypatch.setattr(sys, "argv", [program, *(str(argument) for argument in args)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "tools" / program), run_name="__main__")
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error[error.rindex("error: ") :]


def write_images(folder: Path, number: int, size: tuple[int, int] = (40, 56)) -> Path:
    """JPEGs of (height, width) with coarse random colours."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        colours = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        colours.resize((size[1], size[0])).save(folder / f"{index:02d}.jpg")
    return folder


def write_config(path: Path, images: Path, batch_size: int = 8, **changes: Any) -> Path:
    """A RePre pretraining of two epochs that takes a second."""
    view = [
        dict(type="RandomResizedCrop", size=(32, 48), scale=(0.5, 1.0)),
        dict(type="RandomFlip", p=0.5),
    ]
    settings: dict[str, Any] = dict(
        model=repre_config(),
        train_dataloader=dict(
            batch_size=batch_size,
            num_workers=0,
            drop_last=True,
            sampler=dict(type="EpochSampler", shuffle=True),
            collate_fn=dict(type="mmvitssl.collate_views"),
            dataset=dict(
                type="ImageFolder",
                root=str(images),
                pipeline=[
                    dict(type="LoadImage"),
                    dict(type="MultiView", views=[dict(transforms=view, num=2)]),
                    dict(type="PackViews"),
                ],
            ),
        ),
        train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=2),
        optim_wrapper=dict(
            type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-3), clip_grad=dict(max_norm=3.0)
        ),
        param_scheduler=[dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=4)],
        custom_hooks=[dict(type="MomentumUpdateHook"), dict(type="ReduceLogsHook")],
        default_hooks=dict(logger=dict(interval=1)),
        log_processor=dict(window_size=1),
    )
    lines = [f"_base_ = [{str(ROOT / 'configs/_base_/default_runtime.py')!r}]"]
    lines += [f"{name} = {value!r}" for name, value in {**settings, **changes}.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def read_scalars(work_dir: Path) -> list[dict[str, Any]]:
    """What the last run logged: one dict a training iteration."""
    last = max(work_dir.glob("*/vis_data/scalars.json"))
    return [json.loads(line) for line in last.read_text().splitlines() if "loss" in line]
