#!/usr/bin/env python3
"""Set up the environment: a virtual environment with exactly the versions in requirements/.

Needs nothing but the standard library. A finished set-up is recorded, so that running it again
takes a moment; compiled mmcv wheels are kept outside the checkout, one for each version of Python,
torch and mmcv, so that a second checkout need not compile again.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from setup_steps import SetupError, Steps, compile_progress, duration

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
# What the set-up installs or obeys; a change of any other file there does not concern it.
INSTALLED = ("build", "torch", "constraints", "runtime", "dev", "export", "mmcv", "mm")
OLDEST, NEWEST = (3, 10), (3, 13)  # the pinned versions have wheels for these
CUDA_MAJOR = 13  # of the pinned torch
GIB = 1024**3
SPACE = 10 * GIB
COMPILE_SPACE = 3 * GIB
MEMORY_A_JOB = 2 * GIB

# Before the long compilation: torch and torchvision from different indices fail only at import.
VERIFY_TORCH = "import torch, torchvision; torch.ops.torchvision.nms; print(torch.__version__)"
VERIFY = """
import torch, torchvision, timm, cv2, mmengine, mmcv, mmdet, mmseg
from mmcv.ops import nms
boxes = torch.tensor([[0., 0., 4., 4.], [0., 0., 4., 4.1], [8., 8., 9., 9.]])
kept = nms(boxes, torch.tensor([.9, .8, .7]), 0.5)[1]
assert kept.tolist() == [0, 2], kept
print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__},"
      f" mmengine {mmengine.__version__}, mmcv {mmcv.__version__}, mmdet {mmdet.__version__},"
      f" mmseg {mmseg.__version__}")
"""


def pinned(package: str, requirements: str) -> str:
    """The exact version of a package in one of the requirements files.

    Raises:
        SetupError: it is not pinned there.
    """
    found = re.search(rf"^{re.escape(package)}==(\S+)", requirements, re.MULTILINE)
    if found is None:
        raise SetupError(f"requirements/ must pin {package} with ==.")
    return found.group(1)


def read_requirements(name: str) -> str:
    """The text of one of the requirements files."""
    return (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")


def wheel_folder(cache: Path, python: str, torch: str, mmcv: str, machine: str) -> Path:
    """Where a compiled mmcv lies.

    pip's own cache does not note the torch that a wheel was compiled against, and would hand out a
    binary of the wrong ABI after a change of torch.
    """
    return cache / "wheels" / f"{python}-torch{torch}-mmcv{mmcv}-{machine}"


def cache_root() -> Path:
    """The folder of what outlives a checkout, under ``XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmvitssl"


def fingerprint(texts: Iterable[str]) -> str:
    """A hash of what an environment is made from."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def python_tag() -> str:
    """The running interpreter as wheels name it."""
    return f"cp{sys.version_info.major}{sys.version_info.minor}"


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


def check_python(version: tuple[int, int]) -> None:
    """Raise SetupError for a Python that the pinned versions do not support."""
    if OLDEST <= version <= NEWEST:
        return
    supported = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    raise SetupError(
        f"Python {version[0]}.{version[1]} does not serve: the pinned versions are made for "
        f"{supported}. Install one of them and name it, as in `make demo PYTHON=python3.11`."
    )


def check_compiler() -> None:
    """Raise SetupError if there is no C++ compiler."""
    if not (shutil.which("g++") and shutil.which("gcc")):
        raise SetupError(
            "mmcv's operators must be compiled, and there is no gcc/g++: install them (Debian: apt "
            "install build-essential; Fedora: dnf install gcc-c++)."
        )


def check_space(venv: Path, needed: int) -> None:
    """Raise SetupError if the disk is too full for a new environment."""
    folder = next(parent for parent in [venv, *venv.parents] if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SetupError(
            f"{folder} has {free / GIB:.1f} GB free and {needed / GIB:.0f} GB are needed: free "
            f"some space or choose another folder with VENV=..."
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


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold a lock, so that two set-ups at a time do not compile twice or share one environment."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another set-up to finish", flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


class Environment:
    """The virtual environment and how to fill it.

    Args:
        venv: its folder.
    """

    def __init__(self, venv: Path) -> None:
        self.venv = venv
        self.python = venv / "bin" / "python"
        self.stamp = venv / "mmvitssl-setup"
        self.mmcv = pinned("onedl-mmcv", read_requirements("mmcv"))
        self.cuda = compiles_cuda()
        torch = pinned("torch", read_requirements("torch"))
        machine = platform.machine() + ("-cuda" if self.cuda else "")
        self.wheels = wheel_folder(cache_root(), python_tag(), torch, self.mmcv, machine)

    def wanted(self) -> str:
        """What a finished environment is recorded as."""
        return fingerprint([*map(read_requirements, INSTALLED), python_tag()])

    def recorded(self) -> list[str]:
        """The fingerprint and the checkout of the last finished set-up; empty if there is none."""
        if not (self.python.exists() and self.stamp.is_file()):
            return []
        return self.stamp.read_text(encoding="utf-8").splitlines()

    def wheel(self) -> Path | None:
        """The compiled mmcv, if there is one."""
        return next(iter(sorted(self.wheels.glob("*.whl"))), None)

    def usable(self) -> bool:
        """Whether the folder holds an environment of this Python, with pip."""
        if not self.python.exists():
            return False
        ask = "import sys, pip; print('cp%d%d' % sys.version_info[:2])"
        answer = subprocess.run([self.python, "-c", ask], capture_output=True, text=True)
        return answer.stdout.strip() == python_tag()

    def clear(self) -> None:
        """Remove what another Python or a failed set-up left.

        Raises:
            SetupError: the folder holds something else, which is not ours to remove.
        """
        if not self.venv.exists() or not any(self.venv.iterdir()):
            return
        if not (self.venv / "pyvenv.cfg").exists():
            raise SetupError(
                f"{self.venv} is not a virtual environment and not empty: choose another folder "
                f"with VENV=..."
            )
        print(f"removing {self.venv}: it is not a working environment of {python_tag()}")
        shutil.rmtree(self.venv.resolve())

    def pip(self, steps: Steps, *arguments: str | Path) -> str:
        """Run pip in the environment, whatever its user's settings for other environments."""
        base = (self.python, "-m", "pip", "--disable-pip-version-check", "--no-input")
        return steps.run([*base, *arguments], env={"PIP_USER": "0"})

    def compile_mmcv(self, steps: Steps) -> None:
        """Build mmcv's operators against the installed torch."""
        number = os.environ.get("MAX_JOBS") or str(jobs(os.cpu_count() or 1, memory_size()))
        env = {"MMCV_WITH_OPS": "1", "MAX_JOBS": number}
        if not self.cuda:
            env |= {"CUDA_VISIBLE_DEVICES": "", "FORCE_CUDA": "0"}
            if shutil.which("nvidia-smi"):
                print(f"      CPU operators only: CUDA {CUDA_MAJOR}'s nvcc is not on the PATH")

        def build(folder: Path) -> None:
            flags = ("-v", "--no-build-isolation", "--no-cache-dir", "--no-deps", "--no-input")
            command = (self.python, "-m", "pip", "wheel", *flags, "-w", folder)
            steps.run([*command, f"onedl-mmcv=={self.mmcv}"], env, compile_progress)

        publish(build, self.wheels)

    def create(self, steps: Steps) -> None:
        """The first step: an empty environment, unless there is one that serves."""
        steps.announce(f"virtual environment {self.venv}")
        if not self.usable():
            steps.run([sys.executable, "-m", "venv", self.venv])

    def fill(self, steps: Steps) -> None:
        """Install everything that is pinned."""
        files = {name: REQUIREMENTS / f"{name}.txt" for name in INSTALLED}
        steps.announce("pip and build tools")
        self.pip(steps, "install", "-r", files["build"])
        steps.announce("torch and torchvision (about 5 GB on disk)")
        # Python compiles what it imports when it is first imported, which is far less than all.
        self.pip(
            steps, "install", "--no-compile", "-r", files["torch"],
            "-c", files["constraints"], "-c", files["runtime"],
        )  # fmt: skip
        steps.run([self.python, "-c", VERIFY_TORCH])
        steps.announce("libraries")
        for name in ("runtime", "dev", "export"):
            self.pip(steps, "install", "--no-compile", "--no-deps", "-r", files[name])
        if self.wheel() is None:
            steps.announce(f"mmcv: compiling its operators, once, for {self.wheels}")
            self.compile_mmcv(steps)
        else:
            steps.announce(f"mmcv: from {self.wheels}")
        self.pip(steps, "install", "--no-deps", "--force-reinstall", str(self.wheel()))
        steps.announce("mmdetection and mmsegmentation")
        self.pip(steps, "install", "--no-deps", "--no-build-isolation", "-r", files["mm"])

    def prepare(self) -> None:
        """Raise SetupError for what would fail later, and make room."""
        if self.wheel() is None:
            check_compiler()
        if not self.usable():
            self.clear()
            check_space(self.venv, SPACE + (COMPILE_SPACE if self.wheel() is None else 0))

    def set_up(self) -> None:
        """Bring the environment to what is wanted; nothing happens if it is there already."""
        wanted = [self.wanted(), str(ROOT)]
        if self.recorded() == wanted:
            return
        with only_one(cache_root() / "setup.lock"):
            recorded = self.recorded()
            if recorded != wanted:
                self.update(wanted, filled=recorded[:1] == wanted[:1])

    def update(self, wanted: list[str], filled: bool) -> None:
        """Do what is missing: everything, or only to point the environment at this checkout."""
        if not filled:
            self.prepare()
        steps = Steps(2 if filled else 8, self.venv / "setup-logs")
        self.stamp.unlink(missing_ok=True)
        if not filled:
            self.create(steps)
            self.fill(steps)
        steps.announce("mmvitssl itself, editable")
        self.pip(steps, "install", "--no-deps", "--no-build-isolation", "-e", ROOT)
        steps.announce("check: import everything, run an operator of mmcv")
        print(f"       {steps.run([self.python, '-c', VERIFY]).splitlines()[-1]}")
        self.stamp.write_text("\n".join(wanted) + "\n", encoding="utf-8")
        print(f"set up in {duration(time.monotonic() - steps.started)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    args = parser.parse_args()
    for ending in (signal.SIGTERM, signal.SIGHUP):  # end what was started, as Ctrl-C does
        signal.signal(ending, lambda number, frame: sys.exit(128 + number))
    try:
        check_python(sys.version_info[:2])
        Environment(args.venv.expanduser().absolute()).set_up()
    except SetupError as error:
        sys.exit(f"\nerror: {error}")
    except OSError as error:
        sys.exit(
            f"\nerror: {error}\nWhat to do: check the space and the permissions of that folder. "
            f"VENV=... chooses another for the environment, XDG_CACHE_HOME=... for {cache_root()}."
        )
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: run the same command again to go on; downloads are kept")


if __name__ == "__main__":
    main()
