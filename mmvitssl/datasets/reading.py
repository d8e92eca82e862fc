"""Which file each process of a data loader is reading, for those who wait for it."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader

LENGTH = 1000  # bytes of a path that are kept, from its end
_current: list[tuple[Readers, int, int]] = []  # with the thread that reads, at most one
_hooked: list[bool] = []


class Readers:
    """Shared memory in which the processes of a loader note the file that they opened last.

    Args:
        count: of processes.
    """

    def __init__(self, count: int) -> None:
        # process id, time, bytes of the path
        self.numbers = torch.zeros(count, 3, dtype=torch.float64).share_memory_()
        self.names = torch.zeros(count, LENGTH, dtype=torch.uint8).share_memory_()

    def note(self, number: int, path: Any) -> None:
        """Say which file a process opens now."""
        name = os.fsencode(path)[-LENGTH:]
        self.names.numpy()[number, : len(name)] = memoryview(name)
        self.numbers.numpy()[number, 1:] = time.monotonic(), len(name)

    def start(self, number: int) -> None:
        """Say that a process is there."""
        self.numbers.numpy()[number] = os.getpid(), time.monotonic(), 0

    def idle(self, number: int) -> None:
        """Say that a process has a whole batch, and waits."""
        self.numbers.numpy()[number, 1:] = time.monotonic(), 0

    def busy(self) -> Iterator[tuple[int, int, float, str]]:
        """Number, process id, seconds and file of all that are reading one, longest first."""
        now = time.monotonic()
        rows = []
        for number, (pid, since, length) in enumerate(self.numbers.tolist()):
            if pid and length:
                name = os.fsdecode(self.names.numpy()[number, : int(length)].tobytes())
                rows.append((number, int(pid), now - since, name))
        return iter(sorted(rows, key=lambda row: -row[2]))

    def processes(self) -> list[int]:
        """Ids of all that have started, dead ones too."""
        return [int(pid) for pid in self.numbers[:, 0].tolist() if pid]


def _note_open(event: str, arguments: Any) -> None:
    if event != "open" or not isinstance(arguments[0], (str, bytes)):
        return
    for readers, number, thread in tuple(_current):
        if thread == threading.get_ident():  # the watchdog and writers of logs open files too
            readers.note(number, arguments[0])


def _listen() -> None:
    if not _hooked:  # there is no way to remove it; forked processes have it already
        sys.addaudithook(_note_open)
        _hooked.append(True)


def _end_with_parent() -> None:
    """End on SIGTERM of the parent only: schedulers send it to all processes of a job.

    The loader's main process still needs its workers then, to finish the step and save.
    """
    while True:
        if signal.sigwaitinfo({signal.SIGTERM}).si_pid == os.getppid():
            os._exit(0)


class StartWorker:
    """``worker_init_fn`` that lets a worker note what it reads, and ignore the job's signals.

    SIGUSR2 writes the worker's stack to the standard error.

    Args:
        readers: where it is noted.
        before: the ``worker_init_fn`` that the loader had.
    """

    def __init__(self, readers: Readers, before: Callable[[int], None] | None) -> None:
        self.readers, self.before = readers, before

    def __call__(self, worker: int) -> None:
        self.readers.start(worker)
        _current[:] = [(self.readers, worker, threading.get_ident())]
        _listen()
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()
        faulthandler.register(signal.SIGUSR2, file=2, all_threads=False)
        if self.before is not None:
            self.before(worker)


class CollateAndRest:
    """``collate_fn`` that notes when a worker has a whole batch.

    Args:
        collate: the ``collate_fn`` that the loader had.
    """

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate

    def __call__(self, batch: Any) -> Any:
        collated = self.collate(batch)
        for readers, number, _ in _current:
            readers.idle(number)
        return collated


def watch_reading(loader: DataLoader) -> Readers:
    """Let a loader, before its first pass, note what its processes read."""
    if isinstance(loader.worker_init_fn, StartWorker):
        return loader.worker_init_fn.readers
    readers = Readers(max(loader.num_workers, 1))
    loader.worker_init_fn = StartWorker(readers, loader.worker_init_fn)
    loader.collate_fn = CollateAndRest(loader.collate_fn)
    if not loader.num_workers:
        _listen()
    return readers


@contextmanager
def reading_here(loader: DataLoader) -> Iterator[None]:
    """Note what this process opens, where a loader has no workers."""
    if loader.num_workers or not isinstance(loader.worker_init_fn, StartWorker):
        yield
        return
    loader.worker_init_fn.readers.start(0)
    _current[:] = [(loader.worker_init_fn.readers, 0, threading.get_ident())]
    try:
        yield
    finally:
        _current.clear()
