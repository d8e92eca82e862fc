"""Peak memory of a piece of work, on a GPU or in main memory."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): makes the peak of resident memory the present


def _status(name: str) -> int:
    """Bytes of an entry of the kernel's account of this process."""
    for line in STATUS.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise OSError(f"{STATUS} has no {name}.")


def _give_back() -> None:
    """Free what Python and the allocator hold on to, so that it is not taken for in use."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def can_measure(device: torch.device) -> bool:
    """Whether the peak can be measured: on GPUs, and on Linux that allows to reset it."""
    return device.type == "cuda" or (STATUS.exists() and os.access(CLEAR, os.W_OK))


def growth(work: Callable[[], None], device: torch.device) -> int:
    """Bytes by which memory in use grew at most while ``work`` ran, over what was in use before.

    On a GPU that is what torch allocated there. On a CPU it is the resident memory of the whole
    process as the kernel accounts for it (``VmHWM`` of proc(5), reset before), the allocator's
    idle memory having been given back first; the kernel's count is exact to about a MiB.

    Raises:
        OSError: the system does not tell; see :func:`can_measure`.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    _give_back()
    CLEAR.write_text(RESET_PEAK)
    before = _status("VmRSS")
    work()
    return max(_status("VmHWM") - before, 0)
