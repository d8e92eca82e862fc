"""Ends a training that no longer gets on, and names what it waits for."""

from __future__ import annotations

import re
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmvitssl.datasets.reading import Readers, reading_here, watch_reading
from mmvitssl.engine.errors import UserError
from mmvitssl.engine.hooks.finite import images_of, some
from mmvitssl.engine.watchdog import REST, Limits, Watchdog
from mmvitssl.registry import HOOKS

LOAD, STEP = "loading a batch", "a training step"
VAL_LOAD, VAL_STEP = "loading a validation batch", "a validation step"
DYING = 5.0  # seconds from a broken connection to the end of a process


class WorkerError(UserError):
    """A process of a data loader died."""


@HOOKS.register_module()
class WatchdogHook(Hook):
    """End the job when a step or a batch takes much longer than usual, or its launcher is gone.

    What is said names the rank, the stage, the stack of the process, and the files that are being
    read or were in the batch; it also goes to ``hang-rank<R>.txt`` in the work folder. The exit
    status is 70; 1 where the launcher is gone.

    ``tools/train.py`` adds this hook to every training; put it into ``default_hooks`` to change
    its numbers, which are seconds.

    Args:
        factor: multiple of the usual time (median of the last 100) that is allowed.
        least: no limit is below this.
        first: the limit until three steps are done.
        rest: the limit for all between steps: checkpoints, metrics, other hooks.
        signal: what a step has to end after a signal to stop, if not five times its usual time.

    Raises:
        ValueError: a number that is not positive.
    """

    priority = 89  # after all hooks but checkpoints, which are no part of a step

    def __init__(
        self, factor: float = 20, least: float = 300, first: float = 1800, rest: float = 3600,
        signal: float = 10,
    ) -> None:  # fmt: skip
        self.limits = Limits(factor, least, first, rest, signal)
        self._watchdog: Watchdog | None = None
        self._readers: dict[bool, Readers] = {}  # by whether of validation
        self._batch: tuple[Any, Any] = (None, None)

    def before_train(self, runner: Runner) -> None:
        """Begin to watch."""
        self._readers = {False: watch_reading(runner.train_dataloader)}
        if runner.val_loop is not None:
            self._readers[True] = watch_reading(runner.val_dataloader)
        launched = getattr(runner, "launcher", "none") != "none"
        self._watchdog = Watchdog(
            self.limits, runner.work_dir, self._details, self._workers, self._reading, launched
        )
        self._watchdog.start()

    def stop(self) -> None:
        """Watch no longer, whether the training ended well or not."""
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None

    def after_train(self, runner: Runner) -> None:
        self.stop()

    def enter(self, stage: str) -> None:
        """A stage begins."""
        if self._watchdog is not None:
            self._watchdog.enter(stage)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._batch = (None, None)
        self.enter(REST)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._batch = (data_batch, runner.val_dataloader.dataset)
        self.enter(VAL_STEP)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._batch = (None, None)
        last = batch_idx + 1 == len(runner.val_dataloader)
        self.enter(REST if last else VAL_LOAD)  # metrics come after the last one

    @contextmanager
    def loading(self, loader: DataLoader) -> Iterator[None]:
        """The next batch is waited for."""
        self.enter(LOAD)
        with reading_here(loader):
            yield
        self.enter(REST)

    def begin_step(self, batch: Any, loader: DataLoader) -> None:
        """A step begins, with the hooks before it."""
        self._batch = (batch, loader.dataset)
        self.enter(STEP)

    def _workers(self) -> list[int]:
        """Ids of processes of the loaders, not of this one."""
        return [pid for readers in self._readers.values() for pid in readers.processes()]

    def _busy(self, stage: str) -> list[tuple[int, int, float, str]]:
        """What is read for the batch that a stage waits for."""
        if stage not in (LOAD, VAL_LOAD) or (stage == VAL_LOAD) not in self._readers:
            return []
        return list(self._readers[stage == VAL_LOAD].busy())

    def _reading(self, stage: str) -> list[int]:
        return [pid for _, pid, _, _ in self._busy(stage)]

    def _details(self, stage: str) -> str:
        """The files of a stage."""
        if stage in (STEP, VAL_STEP):
            names = images_of(*self._batch)
            return f"Images of the batch: {some(names)}." if names else ""
        return " ".join(
            f"Reader {number} (process {pid}) opened {path} {seconds:.0f} s ago."
            for number, pid, seconds, path in self._busy(stage)
        )

    def explain(self, error: Exception) -> None:
        """Say which process of a loader died of what, and what it read.

        torch raises such an error wherever the main thread is at that moment.

        Raises:
            WorkerError: that is what the error is about.
        """
        try:
            statuses = exit_statuses(error)
        except RuntimeError as heard:  # of torch's handler of SIGCHLD, once, after another error
            statuses = exit_statuses(heard)
        if statuses:
            raise WorkerError(self._death(statuses)) from error

    def _death(self, statuses: dict[int, int | None]) -> str:
        files = [
            f"worker {number} (process {pid}) was reading {path}"
            for readers in self._readers.values()
            for number, pid, _, path in readers.busy()
            if pid in statuses
        ]
        why = "; ".join(sorted({_how(status) for status in statuses.values()}))
        advice = (
            "SIGKILL is mostly the system's, for lack of memory: fewer train_dataloader."
            "num_workers or prefetch_factor need less. SIGBUS: /dev/shm is full."
        )
        who = "; ".join(files) or f"processes {sorted(statuses)}, between two files"
        return f"A process of the data loader {why}: {who}. {advice} Go on with --resume."


def exit_statuses(error: BaseException) -> dict[int, int | None]:
    """Exit status of each worker of a data loader that died before an error, by process id.

    By chance torch hears of a death by SIGCHLD, misses the batch, or loses a connection to the
    worker. Only an error of the first names the signal; the processes are in torch's frames.

    Returns:
        Statuses as ``Process.exitcode``: minus the number of a signal; None where not known.
    """
    chain: list[BaseException] = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    statuses: dict[int, int | None] = {}
    workers: dict[int, Any] = {}
    for one in chain:
        for pids in re.findall(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", str(one)):
            for pid in map(int, pids.split(",")):
                statuses[pid] = statuses.get(pid) or _status_of(str(one))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            owner = frame.f_locals.get("self")
            workers.update({w.pid: w for w in getattr(owner, "_workers", ())})
    broken = any(isinstance(one, (OSError, EOFError)) for one in chain)
    deadline = time.monotonic() + (DYING if broken and workers else 0)
    while not any(worker.exitcode for worker in workers.values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return statuses | {pid: w.exitcode for pid, w in workers.items() if w.exitcode}


def _status_of(error: str) -> int | None:
    code = re.search(r"with exit code (\d+)", error)
    found = re.search(r"killed by signal: (.+?)\. ", error + " ")
    numbers = {signal.strsignal(number): number for number in signal.valid_signals()}
    return int(code[1]) if code else -numbers[found[1]] if found and found[1] in numbers else None


def _how(status: int | None) -> str:
    if status is None:
        return "ended unexpectedly"
    if status >= 0:
        return f"ended with exit status {status}"
    return f"was killed by {signal.Signals(-status).name}"


def watchdog_of(runner: Runner) -> WatchdogHook | None:
    """The runner's watchdog, if it has one."""
    return next((hook for hook in runner.hooks if isinstance(hook, WatchdogHook)), None)


def begin_step(runner: Runner, batch: Any, loader: DataLoader) -> None:
    """Tell the watchdog that a step begins."""
    hook = watchdog_of(runner)
    if hook is not None:
        hook.begin_step(batch, loader)


def loading(runner: Runner, loader: DataLoader) -> Any:
    """A context in which the next batch of a loader is waited for."""
    hook = watchdog_of(runner)
    return nullcontext() if hook is None else hook.loading(loader)
