#!/usr/bin/env python3
"""Set up the environment: a virtual environment with exactly the versions in requirements/.

Needs nothing but the standard library. Finished set-ups are recorded, so that running it again
takes a second; compiled mmcv wheels are kept outside the checkout, one for each version of Python,
torch and mmcv, so that a second checkout need not compile again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
NINJA = re.compile(r"^\s*\[(\d+)/(\d+)\]")
HEARTBEAT = 15.0
GIB = 1024**3
SPACE = 10 * GIB
COMPILE_SPACE = 3 * GIB
MEMORY_A_JOB = 2 * GIB

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


class SetupError(RuntimeError):
    """A step that cannot be done; the message says what to do about it."""


def pinned(package: str, requirements: str) -> str:
    """The exact version of a package in one of the requirements files.

    Raises:
        SetupError: it is not pinned there.
    """
    found = re.search(rf"^{re.escape(package)}==(\S+)", requirements, re.MULTILINE)
    if found is None:
        raise SetupError(f"requirements/ must pin {package} with ==.")
    return found.group(1)


def read_requirements(*names: str) -> str:
    """The text of some requirements files."""
    return "\n".join((REQUIREMENTS / f"{name}.txt").read_text() for name in names)


def wheel_folder(cache: Path, python: str, torch: str, mmcv: str, machine: str) -> Path:
    """Where a compiled mmcv lies.

    pip's own cache does not note the torch that a wheel was compiled against, and would hand out a
    binary of the wrong ABI after a change of torch.
    """
    return cache / "mmvitssl" / "wheels" / f"{python}-torch{torch}-mmcv{mmcv}-{machine}"


def cache_root() -> Path:
    """``XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def fingerprint(texts: Iterable[str]) -> str:
    """A hash of what an environment is made from."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def compile_progress(line: str, elapsed: float) -> str | None:
    """What a line of ninja says of the compilation, in words; None for other lines."""
    found = NINJA.match(line)
    if found is None:
        return None
    done, total = int(found.group(1)), int(found.group(2))
    left = elapsed / done * (total - done)
    return f"compiling mmcv {done}/{total}, {minutes(left)} left"


def minutes(seconds: float) -> str:
    """A duration in words."""
    return f"about {round(seconds / 60)} min" if seconds >= 90 else f"about {round(seconds)} s"


def jobs(cores: int, memory: int) -> int:
    """Compilations at a time: the compiler takes up to 2 GiB for each."""
    return max(1, min(cores, memory // MEMORY_A_JOB))


def memory_size() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


ADVICE = (
    ("No space left on device", "free some disk space (about 10 GB are needed)"),
    ("Temporary failure in name resolution", "check the network: the package index is not reached"),
    ("Could not find a version that satisfies", "check the network and the package index (pip "
     "config list), and that this Python is one that the pinned versions support (3.10 to 3.13)"),
    ("ensurepip is not available", "install the venv module (Debian: apt install python3-venv)"),
    ("Python.h: No such file", "install Python's headers (Debian: apt install python3-dev)"),
    ("Killed signal terminated program", "the compiler ran out of memory: set MAX_JOBS=1"),
)  # fmt: skip


def advice(log: str) -> str:
    """What to do about a failure, from the end of its log."""
    for sign, words in ADVICE:
        if sign in log:
            return words
    return "read the log, mend the cause and run the same command again: finished steps are kept"


class Steps:
    """Runs numbered steps, says what goes on, and keeps their logs.

    Args:
        total: number of steps.
        logs: folder for the logs.
    """

    def __init__(self, total: int, logs: Path) -> None:
        self.total = total
        self.number = 0
        self.logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()

    def announce(self, title: str) -> None:
        self.number += 1
        self.title = title
        print(f"[{self.number}/{self.total}] {title}", flush=True)

    def run(
        self,
        command: Sequence[str],
        env: dict[str, str] | None = None,
        progress: Callable[[str, float], str | None] | None = None,
        cwd: Path = ROOT,
    ) -> str:
        """Run a command with its output in a log, and a line of progress now and then.

        Raises:
            SetupError: it failed.
        """
        log = self.logs / f"{self.number:02d}.log"
        started = shown = time.monotonic()
        words: str | None = None
        with log.open("a", encoding="utf-8", errors="replace") as stream:
            stream.write(f"$ {' '.join(map(str, command))}\n")
            stream.flush()
            process = subprocess.Popen(
                [str(part) for part in command],
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=cwd,
                env={**os.environ, **(env or {})},
            )
            with log.open(encoding="utf-8", errors="replace") as reader:
                while process.poll() is None:
                    time.sleep(0.3)
                    now = time.monotonic()
                    for line in reader.readlines():
                        words = (progress and progress(line, now - started)) or words
                    if now - shown >= HEARTBEAT:
                        shown = now
                        print(f"      {words or 'working'} ({now - started:.0f} s)", flush=True)
        text = log.read_text(encoding="utf-8", errors="replace")
        if process.returncode:
            raise SetupError(failure(self.title, command, text, log))
        return text


def failure(title: str, command: Sequence[str], text: str, log: Path) -> str:
    """What a person needs to know about a failed command."""
    end = "\n".join(f"  | {line}" for line in text.splitlines()[-15:])
    return (
        f"The step '{title}' failed.\n  command: {' '.join(map(str, command))}\n  log: {log}\n"
        f"{end}\nWhat to do: {advice(text)}."
    )


def check_machine(venv: Path, compiles: bool) -> None:
    """Raise SetupError if Python is too old, a compiler is missing or the disk is full."""
    if sys.version_info < (3, 10):  # noqa: UP036 (run by whatever python3 there is)
        raise SetupError(
            f"Python {platform.python_version()} is too old: install 3.10 or newer and name it, as "
            f"in `make test PYTHON=python3.11`."
        )
    if compiles and not (shutil.which("g++") and shutil.which("gcc")):
        raise SetupError(
            "mmcv's operators must be compiled, and there is no gcc/g++: install them (Debian: apt "
            "install build-essential; Fedora: dnf install gcc-c++)."
        )
    folder = next(parent for parent in [venv, *venv.parents] if parent.exists())
    free = shutil.disk_usage(folder).free
    needed = SPACE + (COMPILE_SPACE if compiles else 0)
    if free < needed and not (venv / "bin" / "python").exists():
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


class Environment:
    """The virtual environment and how to fill it.

    Args:
        venv: its folder.
    """

    def __init__(self, venv: Path) -> None:
        self.venv = venv
        self.python = venv / "bin" / "python"
        torch = pinned("torch", read_requirements("torch"))
        self.mmcv = pinned("onedl-mmcv", read_requirements("mmcv"))
        tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
        self.wheels = wheel_folder(cache_root(), tag, torch, self.mmcv, platform.machine())

    @property
    def stamp(self) -> Path:
        return self.venv / "mmvitssl-setup"

    def wanted(self) -> str:
        """What a finished environment is recorded as."""
        names = sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))
        return fingerprint([read_requirements(*names), platform.python_version()])

    def wheel(self) -> Path | None:
        """The compiled mmcv, if there is one."""
        return next(iter(sorted(self.wheels.glob("*.whl"))), None)

    def pip(self, steps: Steps, *arguments: str, **options: object) -> str:
        command = [self.python, "-m", "pip", "--disable-pip-version-check", *arguments]
        return steps.run([str(part) for part in command], **options)  # type: ignore[arg-type]

    def compile_mmcv(self, steps: Steps) -> None:
        """Build mmcv's operators against the installed torch."""
        number = os.environ.get("MAX_JOBS") or str(jobs(os.cpu_count() or 1, memory_size()))
        env = {"MMCV_WITH_OPS": "1", "MAX_JOBS": number}

        def build(folder: Path) -> None:
            self.pip(
                steps, "wheel", "-v", "--no-build-isolation", "--no-cache-dir", "--no-deps",
                "-w", str(folder), f"onedl-mmcv=={self.mmcv}",
                env=env, progress=compile_progress,
            )  # fmt: skip

        publish(build, self.wheels)

    def fill(self, steps: Steps) -> None:
        """Install everything that is pinned."""
        steps.announce("pip and build tools")
        self.pip(steps, "install", "--upgrade", "pip", "-r", str(REQUIREMENTS / "build.txt"))
        steps.announce("torch and torchvision (about 5 GB on disk)")
        # Python compiles what it imports when it is first imported, which is far less than all
        self.pip(steps, "install", "--no-compile", "-r", str(REQUIREMENTS / "torch.txt"))
        steps.announce("libraries")
        for name in ("runtime", "dev"):
            path = str(REQUIREMENTS / f"{name}.txt")
            self.pip(steps, "install", "--no-compile", "--no-deps", "-r", path)
        if self.wheel() is None:
            steps.announce("mmcv: compiling its operators, once (10 to 15 min on two cores)")
            self.compile_mmcv(steps)
        else:
            steps.announce(f"mmcv: from {self.wheels}")
        self.pip(steps, "install", "--no-deps", "--force-reinstall", str(self.wheel()))
        steps.announce("mmdetection and mmsegmentation")
        self.pip(
            steps, "install", "--no-deps", "--no-build-isolation", "-r",
            str(REQUIREMENTS / "mm.txt"),
        )  # fmt: skip

    def install_project(self, steps: Steps) -> None:
        steps.announce("mmvitssl itself, editable")
        self.pip(steps, "install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))

    def set_up(self) -> None:
        """Bring the environment to what is wanted; nothing happens if it is there already."""
        wanted = f"{self.wanted()}\n{ROOT}\n"
        recorded = self.stamp.read_text() if self.stamp.is_file() else ""
        if recorded == wanted:
            return
        filled = recorded.split("\n")[0] == self.wanted()
        steps = Steps(2 if filled else 8, self.venv / "setup-logs")
        if not filled:
            check_machine(self.venv, compiles=self.wheel() is None)
            self.stamp.unlink(missing_ok=True)
            steps.announce(f"virtual environment {self.venv}")
            if not self.python.exists():
                steps.run([sys.executable, "-m", "venv", str(self.venv)])
            self.fill(steps)
        self.install_project(steps)
        steps.announce("check")
        print("     ", steps.run([str(self.python), "-c", VERIFY]).splitlines()[-1])
        self.stamp.write_text(wanted)
        print(f"set up in {minutes(time.monotonic() - steps.started)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    args = parser.parse_args()
    try:
        Environment(args.venv.absolute()).set_up()
    except SetupError as error:
        sys.exit(f"\nerror: {error}")


if __name__ == "__main__":
    main()
