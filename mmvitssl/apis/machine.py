"""What the machine has: devices, memory, cores and shared memory."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

CPU_FLAGS = ("amx_bf16", "avx512_bf16")
CGROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclass(frozen=True)
class Machine:
    """Device, memory and cores that a training can use.

    Attributes:
        device: 'cuda' or 'cpu'.
        devices: number of GPUs; 1 for the CPU.
        name: of the device.
        memory: bytes of a device.
        cores: CPU cores that this process may use.
        shared_memory: free bytes of /dev/shm; None: there is none.
        bf16: why bfloat16 is worth using; empty: it is not.
    """

    device: str
    devices: int
    name: str
    memory: int
    cores: int
    shared_memory: int | None
    bf16: str

    def line(self) -> str:
        """One line, for people."""
        what = f"{self.devices} x {self.name}" if self.device == "cuda" else "no GPU: the CPU"
        return f"{what}, {self.memory / 2**30:.0f} GiB of memory, {self.cores} CPU core(s)"


def cores() -> int:
    """CPU cores that this process may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return available or os.cpu_count() or 1


def host_memory() -> int:
    """Bytes of main memory that this process may use: of the machine, or of its container."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in CGROUPS:
        if limit.is_file() and (text := limit.read_text().strip()).isdigit():
            total = min(total, int(text))
    return total


def cpu_flags() -> set[str]:
    """Instruction sets of the CPU that the system lists; empty where it does not."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def shared_memory() -> int | None:
    """Free bytes of /dev/shm, through which workers hand over batches."""
    return shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else None


def find_machine() -> Machine:
    """Describe this machine."""
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        return Machine(
            "cuda", torch.cuda.device_count(), properties.name, properties.total_memory, cores(),
            shared_memory(), "the GPU has it" if supported else "",
        )  # fmt: skip
    flags = [flag for flag in CPU_FLAGS if flag in cpu_flags()]
    return Machine(
        "cpu", 1, "CPU", host_memory(), cores(), shared_memory(),
        f"the CPU has {flags[0]}" if flags else "",
    )  # fmt: skip
