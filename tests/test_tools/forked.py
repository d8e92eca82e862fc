"""Programs in processes of their own that need not import everything again.

Most of a short program's time is the import of torch, MMEngine and the detectors. A server imports
them once and forks a process for each program, in which nothing but imports has happened.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

PRELOADED = (
    "mmvitssl.apis.pretraining",
    "mmvitssl.engine.training",
    "mmvitssl.checkpoint.convert",
    *(f"{package}.{part}" for package in ("mmdet", "mmseg")
      for part in ("models", "datasets", "engine", "evaluation", "visualization")),
)  # fmt: skip
_context = multiprocessing.get_context("forkserver")


def _child(arguments: list[str], env: dict[str, str], folder: Path, output: str) -> None:
    """Become the program: its output, environment, folder, arguments and random numbers."""
    import torch

    file = os.open(output, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    torch.set_num_threads(int(env.get("OMP_NUM_THREADS", 1)))
    random.seed()
    np.random.seed()
    sys.argv = arguments
    places = [place for place in env.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path[:0] = [str(Path(arguments[0]).parent), *(str(folder / place) for place in places)]
    runpy.run_path(arguments[0], run_name="__main__")


class Program:
    """A program that runs beside the test.

    Args:
        arguments, folder, env: see :func:`run`.
    """

    def __init__(self, arguments: list[str], folder: Path, env: Mapping[str, str]) -> None:
        _context.set_forkserver_preload(list(PRELOADED))
        self.arguments = [str(folder / arguments[0]), *arguments[1:]]
        self._file = tempfile.NamedTemporaryFile("r", suffix=".txt")  # noqa: SIM115
        self._process = _context.Process(
            target=_child, args=(self.arguments, dict(env), folder, self._file.name)
        )
        self._process.start()

    @property
    def output(self) -> str:
        """What it has written until now."""
        return Path(self._file.name).read_text()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.exitcode is None

    def kill(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self._process.exitcode is None and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def wait(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """Its end.

        Raises:
            TimeoutExpired: it took longer, and was killed.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise subprocess.TimeoutExpired(self.arguments, timeout, self.output)
        return subprocess.CompletedProcess(
            self.arguments, self._process.exitcode, self.output, None
        )


def run(
    arguments: list[str], folder: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """As :func:`subprocess.run` of ``python ARGUMENTS``, both outputs in one.

    Raises:
        TimeoutExpired: it took longer, and was killed.
    """
    return Program(arguments, folder, env).wait(timeout)
