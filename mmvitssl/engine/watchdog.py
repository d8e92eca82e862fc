"""A thread that ends a process which no longer gets on, and says where it stood."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import statistics
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmvitssl.distributed import rank
from mmvitssl.engine import stopping

HUNG = 70  # EX_SOFTWARE of sysexits.h
ORPHANED = 1
REST = "between steps"  # hooks, checkpoints, metrics


@dataclass(frozen=True)
class Limits:
    """Seconds that a stage may take.

    Attributes:
        factor: multiple of the stage's usual time, the median of its last 100.
        least: which no limit is below.
        first: until the usual time is known, from three.
        rest: for everything between steps.
        signal: for the end of a step after a signal to stop, if not five times its usual time.
    """

    factor: float = 20
    least: float = 300
    first: float = 1800
    rest: float = 3600
    signal: float = 10

    def __post_init__(self) -> None:
        for name in ("factor", "least", "first", "rest", "signal"):
            if not getattr(self, name) > 0:
                raise ValueError(f"WatchdogHook.{name}={getattr(self, name)} must be positive.")


class Watchdog(threading.Thread):
    """Ends the process when a stage takes too long, or when its launcher is gone.

    Args:
        limits: seconds.
        folder: gets the file ``hang-rank<R>.txt`` with what is said.
        details: says what the stage at hand works on.
        workers: ids of the processes of data loaders, which are ended too.
        readers: those of them that read a file while a stage takes too long; they show their stack.
        launched: whether a launcher started this process, without which it is to end.
    """

    def __init__(
        self, limits: Limits, folder: str | Path, details: Callable[[str], str],
        workers: Callable[[], list[int]], readers: Callable[[str], list[int]], launched: bool,
    ) -> None:  # fmt: skip
        super().__init__(name="watchdog", daemon=True)
        self.limits, self.folder = limits, Path(folder)
        self.details, self.workers, self.readers = details, workers, readers
        self._main = threading.get_ident()
        self._parent = os.getppid() if launched else None
        self._stage, self._since = REST, time.monotonic()
        self._times: dict[str, deque[float]] = {}
        self._signal_at: float | None = None
        self._poll = min(1.0, limits.least / 4, limits.first / 4, limits.rest / 4)
        self._over = threading.Event()

    def enter(self, stage: str) -> None:
        """The main thread begins with a stage."""
        now = time.monotonic()
        if self._stage != REST:
            self._times.setdefault(self._stage, deque(maxlen=100)).append(now - self._since)
        self._stage, self._since = stage, now

    def usual(self, stage: str) -> float | None:
        """Seconds that a stage usually takes; None: not known yet."""
        times = list(self._times.get(stage, ()))
        return statistics.median(times) if len(times) >= 3 else None

    def limit(self, stage: str) -> float:
        """Seconds that a stage may take."""
        usual = self.usual(stage)
        if stage == REST:
            return self.limits.rest
        return self.limits.first if usual is None else max(
            self.limits.least, self.limits.factor * usual
        )  # fmt: skip

    def stop(self) -> None:
        """Watch no longer."""
        self._over.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Look every second, or more often where a limit is short."""
        armed = 0.0
        while not self._over.wait(self._poll):
            now = time.monotonic()
            if now - armed > 10:
                # a call that never lets another thread run is ended without Python
                longest = 2 * max(self.limit(self._stage), self.limits.least) + 60
                faulthandler.dump_traceback_later(longest, exit=True, file=2)
                armed = now
            if self._parent is not None and os.getppid() != self._parent:
                self._end("its launcher is gone, and this process ends with it", ORPHANED)
            stage, since = self._stage, self._since
            if stopping.received() and stage != REST:
                self._signal_at = self._signal_at or now
                allowed = max(self.limits.signal, 5 * (self.usual(stage) or 0))
                if now - max(since, self._signal_at) > allowed:
                    self._end(f"got {stopping.received()} and waited {allowed:.0f} s for the end "
                              f"of its step", 128 + signal.SIGTERM)  # fmt: skip
            if now - since > self.limit(stage) and stage == self._stage and since == self._since:
                self._end(self._hang(stage, now - since), HUNG)
        faulthandler.cancel_dump_traceback_later()

    def _hang(self, stage: str, seconds: float) -> str:
        usual = self.usual(stage)
        known = f"usually it takes {usual:.2g} s" if usual is not None else "it is one of the first"
        return (
            f"has spent {seconds:.0f} s on {stage}; {known}, and {self.limit(stage):.0f} s are "
            f"allowed (default_hooks.watchdog). {self.details(stage)}"
        )

    def _end(self, words: str, status: int) -> None:
        frame = sys._current_frames().get(self._main)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "unknown\n"
        text = (
            f"\nerror: rank {rank()} (process {os.getpid()} on {socket.gethostname()}) {words} "
            f"The job ends; go on with --resume.\nStack of rank {rank()}:\n{stack}"
        )
        try:
            os.write(2, text.encode())
            with open(self.folder / f"hang-rank{rank()}.txt", "a") as file:
                file.write(text)
        except OSError:
            status = status or HUNG  # nobody reads, or no room: ending is what matters
        self._end_workers(self._stage)
        os._exit(status)

    def _end_workers(self, stage: str) -> None:
        """Kill the workers, which could be stuck too, after those that read showed their stacks."""
        reading = self.readers(stage)
        for number, processes in ((signal.SIGUSR2, reading), (signal.SIGKILL, self.workers())):
            for pid in processes:
                if _parent_of(pid) == os.getpid():
                    os.kill(pid, number)
            if number == signal.SIGUSR2 and reading:
                time.sleep(1)


def _parent_of(pid: int) -> int | None:
    """The parent of a process; None: there is no such process any more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]) if fields[0] != "Z" else None
