"""Compiling mmcv's operators, for `make setup MMCV=compiled`.

Compiled wheels are kept outside the checkout, one for each version of Python, torch and mmcv, so
that a second checkout need not compile again. Standard library only.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from setup_steps import SetupError, Steps, compile_progress

CUDA_MAJOR = 13  # of the pinned torch
MEMORY_A_JOB = 2 * 1024**3


def python_tag() -> str:
    """The running interpreter as wheels name it."""
    return f"cp{sys.version_info.major}{sys.version_info.minor}"


def wheel_folder(cache: Path, python: str, torch: str, mmcv: str, machine: str) -> Path:
    """Where a compiled mmcv lies.

    pip's own cache does not note the torch that a wheel was compiled against, and would hand out a
    binary of the wrong ABI after a change of torch.
    """
    return cache / "wheels" / f"{python}-torch{torch}-mmcv{mmcv}-{machine}"


def jobs(cores: int, memory: int) -> int:
    """Compilations at a time: the compiler takes up to 2 GiB for each."""
    return max(1, min(cores, memory // MEMORY_A_JOB))


def memory_size() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def nvcc_major(version: str) -> int | None:
    """The CUDA major version in the output of ``nvcc --version``."""
    found = re.search(r"release (\d+)\.", version)
    return int(found.group(1)) if found else None


def compiles_cuda() -> bool:
    """Whether mmcv's CUDA operators can be compiled here.

    mmcv tries whenever it sees a GPU, and then fails without the CUDA compiler of torch's version;
    its CPU operators are what is left, and a GPU still serves everything else.
    """
    if not shutil.which("nvidia-smi") and os.environ.get("FORCE_CUDA") != "1":
        return False
    home = os.environ.get("CUDA_HOME")
    nvcc = shutil.which("nvcc", path=str(Path(home) / "bin") if home else None)
    if nvcc is None:
        return False
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False)
    return nvcc_major(version.stdout) == CUDA_MAJOR


def check_compiler() -> None:
    """Raise SetupError if there is no C++ compiler."""
    if not (shutil.which("g++") and shutil.which("gcc")):
        raise SetupError(
            "mmcv's operators must be compiled, and there is no gcc/g++: install them (Debian: apt "
            "install build-essential; Fedora: dnf install gcc-c++)."
        )


def publish(build: Callable[[Path], None], folder: Path) -> Path:
    """Build into a temporary folder and move the wheel into place whole.

    A build that was killed leaves nothing behind that looks finished.

    Args:
        build: writes one wheel into the folder that it is given.
        folder: where the wheel is to lie.

    Raises:
        SetupError: not exactly one wheel was built.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        build(Path(temporary))
        wheels = list(Path(temporary).glob("*.whl"))
        if len(wheels) != 1:
            raise SetupError(f"The build left {len(wheels)} wheels instead of one.")
        return wheels[0].replace(folder / wheels[0].name)


class CompiledMmcv:
    """The wheel of a compiled mmcv and how to make it.

    Args:
        cache: folder of what outlives a checkout.
        torch: version that it is compiled against.
        version: of onedl-mmcv.
    """

    def __init__(self, cache: Path, torch: str, version: str) -> None:
        self.version = version
        self.cuda = compiles_cuda()
        machine = platform.machine() + ("-cuda" if self.cuda else "")
        self.wheels = wheel_folder(cache, python_tag(), torch, version, machine)

    def wheel(self) -> Path | None:
        """The compiled mmcv, if there is one."""
        return next(iter(sorted(self.wheels.glob("*.whl"))), None)

    def compile(self, python: Path, steps: Steps) -> None:
        """Build the operators against the torch of an environment, given by its interpreter."""
        number = os.environ.get("MAX_JOBS") or str(jobs(os.cpu_count() or 1, memory_size()))
        env = {"MMCV_WITH_OPS": "1", "MAX_JOBS": number, "PIP_USER": "0"}
        if not self.cuda:
            env |= {"CUDA_VISIBLE_DEVICES": "", "FORCE_CUDA": "0"}
            if shutil.which("nvidia-smi"):
                print(f"      CPU operators only: CUDA {CUDA_MAJOR}'s nvcc is not on the PATH")

        def build(folder: Path) -> None:
            flags = ("-v", "--no-build-isolation", "--no-cache-dir", "--no-deps", "--no-input")
            command = (python, "-m", "pip", "wheel", *flags, "-w", folder)
            steps.run([*command, f"onedl-mmcv=={self.version}"], env, compile_progress)

        publish(build, self.wheels)
