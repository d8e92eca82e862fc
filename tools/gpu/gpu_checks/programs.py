"""tools/train.py on a device: a run, its resume, precisions, torchrun and FSDP."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from benchmark.data import write_photographs
from gpu_checks.report import ROOT, Skip, close
from gpu_checks.small import narrow_heads
from mmvitssl.engine.image_size import resize_config

CONFIG = "configs/demo/repre-simclr_vit-p8_demo.py"
SHARDED = ROOT / "configs/mae/mae_vit-large_fsdp-64xb64-cosine-800e_in1k.py"
LENGTHS = {"cpu": (2, 2, 3), "cuda": (16, 4, 5)}
TRAIN = "tools/train.py"
# of a program: its output; a program that fails raises
Run = Callable[..., str]


def call(*command: str | Path) -> str:
    """Run a program from the repository root; returns its output.

    Raises:
        RuntimeError: it failed; the message has its last error and its last line.
        TimeoutExpired: it took longer than SECONDS_PER_PROGRAM (200).
    """
    seconds = float(os.environ.get("SECONDS_PER_PROGRAM", 200))
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": paths}
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=seconds, env=environment,
    )  # fmt: skip
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()] or [""]
        error = next((line for line in reversed(lines) if "rror" in line), "")
        raise RuntimeError(f"exit {done.returncode}: {error[:250]} | {lines[-1][:150]}")
    return done.stdout


def logged_losses(work_dir: Path, number: int) -> list[float]:
    """The losses that the last run in a work folder logged, in order.

    Raises:
        AssertionError: there are not ``number`` of them, or one is not finite.
    """
    files = sorted(work_dir.glob("*/vis_data/scalars.json"))
    lines = [json.loads(line) for line in files[-1].read_text().splitlines()] if files else []
    losses = [line["loss"] for line in lines if "loss" in line]
    if len(losses) != number or not all(map(math.isfinite, losses)):
        raise AssertionError(
            f"{len(losses)} losses were logged, expected {number} finite ones: {losses[-5:]}"
        )
    return losses


def _off(found: list[float], expected: list[float]) -> list[float]:
    return [abs(a / b - 1) for a, b in zip(found, expected, strict=True)]


@dataclass
class Trainings:
    """Short trainings of RePre on MoCo v3 in processes of their own.

    Attributes:
        device: 'cpu' or 'cuda'.
        folder: for images and work folders.
        run: of a program, as :func:`call`.
        losses: of the whole run.
    """

    device: str
    folder: Path
    run: Run = call
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        # images of a step, steps of an epoch, epochs: a checkpoint is written after the second
        self.batch, self.iterations, self.epochs = LENGTHS[self.device]
        self.images = self.folder / "images"
        self.images.mkdir(parents=True)
        write_photographs(self.images, self.iterations * self.batch)

    @property
    def total(self) -> int:
        """Iterations of a whole run."""
        return self.iterations * self.epochs

    def options(self) -> list[str]:
        """Command-line options of all these trainings."""
        return [
            "--cfg-options", f"train_dataloader.dataset.root={self.images}",
            f"train_dataloader.batch_size={self.batch}", f"train_cfg.max_epochs={self.epochs}",
            "default_hooks.logger.interval=1", "default_hooks.checkpoint.interval=2",
            "default_hooks.checkpoint.max_keep_ckpts=5", "log_processor.window_size=1",
            f"param_scheduler.1.end={self.epochs}",
        ]  # fmt: skip

    def train(self, name: str, *arguments: str | Path) -> Path:
        """Run tools/train.py; returns the work folder."""
        work_dir = self.folder / name
        command = (sys.executable, TRAIN, CONFIG, "--work-dir", work_dir, *arguments)
        self.run(*command, *self.options())
        return work_dir

    def whole(self) -> str:
        """A run from start to end; the others are compared with it."""
        self.losses = logged_losses(self.train("whole"), self.total)
        return f"{self.total} iterations, loss {self.losses[0]:.4f} -> {self.losses[-1]:.4f}"

    def resumed(self) -> str:
        """A resume from the checkpoint of the second epoch goes on as the run did."""
        checkpoint = self.folder / "whole" / "epoch_2.pth"
        rest = self.losses[2 * self.iterations :]
        work_dir = self.train("resumed", "--resume", checkpoint)
        off = _off(logged_losses(work_dir, len(rest)), rest)
        close("the first loss after the resume", off[0], 1e-3)
        return f"first loss after the resume off by {off[0]:.1e}, all by at most {max(off):.1e}"

    def torchrun(self) -> str:
        """dist_train.sh with one process starts as a run without it."""
        work_dir = self.folder / "torchrun"
        self.run("bash", "tools/dist_train.sh", CONFIG, "1", "--work-dir", work_dir,
                 *self.options())  # fmt: skip
        off = _off(logged_losses(work_dir, self.total), self.losses)
        close("the first loss", off[0], 1e-3)
        backend = "nccl" if self.device == "cuda" else "gloo"
        return f"{backend}, {self.total} iterations, first loss off one process's by {off[0]:.1e}"

    def variant(self, *arguments: str) -> str:
        """A run in another precision, or compiled, starts near the float32 one.

        Raises:
            Skip: fp16, or compilation, on a CPU.
        """
        if self.device == "cpu" and set(arguments) & {"fp16", "--compile"}:
            raise Skip("needs a GPU")
        name = "-".join(argument.strip("-") for argument in arguments)
        found = logged_losses(self.train(name, *arguments), self.total)
        close("the first loss", _off(found[:1], self.losses[:1])[0], 5e-2)
        return (
            f"loss {found[0]:.4f} -> {found[-1]:.4f}; "
            f"float32's {self.losses[0]:.4f} -> {self.losses[-1]:.4f}"
        )


def sharded_config(images: Path, batch: int, sharded: bool) -> Config:
    """MAE's recipe for FSDP, small; not ``sharded``: the same without FSDP."""
    config = Config.fromfile(SHARDED)
    if not sharded:
        config.pop("runner_type"), config.pop("strategy")
    resize_config(config, 64)
    config.model.encoder.arch = dict(embed_dim=48, depth=2, num_heads=2)
    narrow_heads(config)
    config.train_dataloader.dataset.root = str(images)
    config.train_dataloader.update(batch_size=batch, num_workers=0, persistent_workers=False)
    config.optim_wrapper.update(precision="fp32", accumulative_counts=1)
    changes: dict[str, Any] = {
        "train_cfg.max_epochs": 2,
        "default_hooks.logger.interval": 1,
        "default_hooks.checkpoint.interval": 2,
        "log_processor.window_size": 1,
    }
    config.merge_from_dict(changes)
    config.param_scheduler = [dict(type="ConstantLR", factor=1.0, by_epoch=True, begin=0, end=2)]
    config.custom_hooks = [dict(type="ReduceLogsHook")]
    return config


def fsdp(device: str, folder: Path, run: Run = call) -> str:
    """One process with FSDP trains as one without it."""
    images, batch, iterations = folder / "images", 4, 2
    images.mkdir(parents=True)
    write_photographs(images, batch * iterations)
    losses = {}
    for name, sharded in (("plain", False), ("sharded", True)):
        path = folder / f"{name}.py"
        sharded_config(images, batch, sharded).dump(path)
        run("bash", "tools/dist_train.sh", path, "1", "--work-dir", folder / name)
        losses[name] = logged_losses(folder / name, 2 * iterations)
    off = max(_off(losses["sharded"], losses["plain"]))
    close("the loss", off, 1e-3)
    return f"{2 * iterations} iterations, losses off those without FSDP by at most {off:.1e}"
