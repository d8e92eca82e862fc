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


def run(
    arguments: list[str], folder: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """As :func:`subprocess.run` of ``python ARGUMENTS``, both outputs in one.

    Raises:
        TimeoutExpired: it took longer, and was killed.
    """
    _context.set_forkserver_preload(list(PRELOADED))
    arguments = [str(folder / arguments[0]), *arguments[1:]]
    with tempfile.NamedTemporaryFile("r", suffix=".txt") as output:
        process = _context.Process(target=_child, args=(arguments, dict(env), folder, output.name))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout, Path(output.name).read_text())
        text = Path(output.name).read_text()
        return subprocess.CompletedProcess(arguments, process.exitcode, text, None)
