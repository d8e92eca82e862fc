"""A progress bar in place of a line of the log per interval, on terminals."""

from __future__ import annotations

import logging
import re
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

LOSS = re.compile(r"^(Epoch|Iter)\(train\)")
WINDOW = 50  # iterations that speed and waiting are averaged over
FIRST = "the first step is computed"
EVERY = 0.2  # seconds between two pictures of the bar


def clock(seconds: float) -> str:
    """``1:02:03`` of a number of seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def memory() -> float:
    """GiB that were in use at most: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class ProgressBarHook(Hook):
    """Shows how far a training is, its speed, its waiting for data and its losses.

    The time that is left is counted from the whole run, and never shown to grow. Losses are those
    that were logged last, so that nothing waits for the device.

    Args:
        progress: of rich, which is shown.
    """

    priority = "VERY_LOW"

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task: Any = None
        self.left = float("inf")
        self.begun, self.first, self.shown = 0.0, 0, 0.0

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self.begun, self.first = time.monotonic(), runner.iter
        self.task = self.progress.add_task(FIRST, total=runner.max_iters, completed=runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the bar, a few times per second."""
        now, done = time.monotonic(), runner.iter + 1
        if now - self.shown < EVERY and done < runner.max_iters:
            return
        self.shown = now
        per_iteration = (now - self.begun) / (done - self.first)
        self.left = min(self.left, per_iteration * (runner.max_iters - done))
        self.progress.update(self.task, completed=done, description=self.words(runner))

    def words(self, runner: Runner) -> str:
        """Epoch, speed, waiting, memory, time that is left and losses."""
        scalars = runner.message_hub.log_scalars
        seconds = scalars["train/time"].mean(WINDOW) if "train/time" in scalars else 0.0
        waiting = scalars["train/data_time"].mean(WINDOW) if "train/data_time" in scalars else 0.0
        loader = runner.train_dataloader
        batch = loader.batch_size or getattr(loader.batch_sampler, "batch_size", 1)
        images = batch * runner.world_size
        parts = [f"epoch {runner.epoch + 1}/{runner.max_epochs}"] if runner.max_epochs else []
        if seconds:
            parts.append(f"{images / seconds:.3g} images/s")
            parts.append(f"{waiting / seconds:.0%} waiting for data")
        parts.append(f"{memory():.1f} GiB")
        parts.append(f"{clock(self.left)} left")
        for name, values in scalars.items():
            if name.startswith("train/loss"):
                parts.append(f"{name.removeprefix('train/')} {values.current():.4g}")
        return "  ".join(parts)


class FirstStepHook(Hook):
    """Logs the losses of the first step, which would else be seen after an interval of the log."""

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self.begun: float | None = 0.0

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self.begun = time.monotonic()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Log once; this waits for the device."""
        if self.begun is None:
            return
        seconds, self.begun = time.monotonic() - self.begun, None
        losses = [
            f"{name} {float(torch.as_tensor(value).detach().float().mean()):.4g}"
            for name, value in (outputs or {}).items() if name.startswith("loss")
        ]  # fmt: skip
        words = f"First step: {', '.join([*losses, f'{memory():.1f} GiB'])}, {seconds:.1f} s."
        runner.logger.info(words)


class _LineFilter(logging.Filter):
    """Keeps what the bar shows away from the console."""

    def filter(self, record: logging.LogRecord) -> bool:
        return LOSS.match(record.getMessage()) is None


@contextmanager
def progress_bar(runner: Runner, console: Console | None = None) -> Iterator[None]:
    """Show a bar while a runner trains, if the output is a terminal.

    Else the log's lines stay, and there is one of the first step.

    Args:
        runner: that is about to train.
        console: where the bar goes; None: standard error.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal or get_rank() != 0:
        runner.register_hook(FirstStepHook())
        yield
        return
    handlers = [
        handler
        for handler in runner.logger.handlers
        if isinstance(handler, logging.StreamHandler)
        and not isinstance(handler, logging.FileHandler)
    ]
    hidden = _LineFilter()
    progress = Progress(BarColumn(20), TextColumn("{task.description}"), console=console)
    runner.register_hook(ProgressBarHook(progress))
    streams = [handler.stream for handler in handlers]
    with progress:
        for handler in handlers:
            handler.addFilter(hidden)
            handler.setStream(_Through(console))
        try:
            yield
        finally:
            for handler, stream in zip(handlers, streams, strict=True):
                handler.removeFilter(hidden)
                handler.setStream(stream)


class _Through:
    """A stream that prints above the bar."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def write(self, text: str) -> None:
        """Print without markup."""
        self.console.print(text, end="", markup=False, highlight=False, soft_wrap=True)

    def flush(self) -> None:
        """Nothing is held back."""
