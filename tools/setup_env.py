#!/usr/bin/env python3
"""Set up the environment: a virtual environment with exactly the versions in requirements/lock.txt.

Needs nothing but the standard library: pip installs uv, and uv the rest, from the index that pip is
configured for. A finished set-up is recorded, so that running it again takes a moment.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from setup_mmcv import CompiledMmcv, check_compiler, python_tag
from setup_steps import SetupError, Steps, duration

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
# What the set-up installs; a change of any other file there does not concern it.
INSTALLED = ("uv", "lock", "compile")
OLDEST, NEWEST = (3, 10), (3, 13)  # the pinned versions have wheels for these
OPERATORS = ("torchvision", "compiled")
GIB = 1024**3
SPACE = 8 * GIB
COMPILE_SPACE = 3 * GIB
# pip's settings, uv's variable for each, and what separates several values there
UV_SETTINGS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "no-index": ("UV_NO_INDEX", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "proxy": ("ALL_PROXY", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
}

VERIFY = """
import mmvitssl, torch, torchvision, timm, cv2, mmengine, mmcv, mmdet.apis, mmseg.apis
from mmcv.ops import get_compiler_version, nms
boxes = torch.tensor([[0., 0., 4., 4.], [0., 0., 4., 4.1], [8., 8., 9., 9.]])
kept = nms(boxes, torch.tensor([.9, .8, .7]), 0.5)[1]
assert kept.tolist() == [0, 2], kept
print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__},"
      f" mmengine {mmengine.__version__}, mmcv {mmcv.__version__}, mmdet {mmdet.__version__},"
      f" mmseg {mmseg.__version__}; mmcv's compiler: {get_compiler_version()}")
"""


def pinned(package: str, requirements: str) -> str:
    """The exact version of a package in a requirements file.

    Raises:
        SetupError: it is not pinned there.
    """
    found = re.search(rf"^{re.escape(package)}==([^\s;]+)", requirements, re.MULTILINE)
    if found is None:
        raise SetupError(f"requirements/ must pin {package} with ==.")
    return found.group(1)


def read_requirements(name: str) -> str:
    """The text of one of the requirements files."""
    return (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")


def cache_root() -> Path:
    """The folder of what outlives a checkout, under ``XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmvitssl"


def fingerprint(texts: Iterable[str]) -> str:
    """A hash of what an environment is made from."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def uv_settings(pip_config: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What uv is to be told so that it reaches the same packages as pip.

    Args:
        pip_config: output of ``pip config list``.
        environment: variables that are set already, which are obeyed.

    Returns:
        Additions to the environment.
    """
    found: dict[str, str] = {}
    lines = re.findall(r"^(\S+?)\.([\w-]+)=(.+)$", pip_config, re.MULTILINE)
    for section in ("global", "install", ":env:"):  # later ones win, as with pip
        for where, key, value in lines:
            if where == section and key in UV_SETTINGS:
                name, separator = UV_SETTINGS[key]
                found[name] = separator.join(str(ast.literal_eval(value)).split())
    settings = {name: value for name, value in found.items() if name not in environment}
    if "UV_INDEX" in settings:  # pip takes the best version of all indices, uv the first index
        settings.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return settings


def check_python(version: tuple[int, int]) -> None:
    """Raise SetupError for a Python that the pinned versions do not support."""
    if OLDEST <= version <= NEWEST:
        return
    supported = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    raise SetupError(
        f"Python {version[0]}.{version[1]} does not serve: the pinned versions are made for "
        f"{supported}. Install one of them and name it, as in `make demo PYTHON=python3.11`."
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
        operators: mmcv's, 'compiled' or 'torchvision'; None for those that it has, torchvision's
            in a new one.
    """

    def __init__(self, venv: Path, operators: str | None = None) -> None:
        self.venv = venv
        self.python = venv / "bin" / "python"
        self.stamp = venv / "mmvitssl-setup"
        versions = read_requirements("lock")
        torch, mmcv = pinned("torch", versions), pinned("onedl-mmcv", versions)
        self.mmcv = CompiledMmcv(cache_root(), torch, mmcv)
        self.operators = operators or ([*self.recorded(), "", "", ""][2] or "torchvision")

    @property
    def compiled(self) -> bool:
        return self.operators == "compiled"

    def wanted(self) -> list[str]:
        """What a finished environment is recorded as: libraries, checkout, mmcv's operators."""
        libraries = fingerprint([*map(read_requirements, INSTALLED), python_tag()])
        checkout = fingerprint([str(ROOT), (ROOT / "pyproject.toml").read_text(encoding="utf-8")])
        return [libraries, checkout, self.operators]

    def recorded(self) -> list[str]:
        """The record of the last finished set-up; empty if there is none."""
        if not (self.python.exists() and self.stamp.is_file()):
            return []
        return self.stamp.read_text(encoding="utf-8").splitlines()

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

    def uv(self, steps: Steps, *arguments: str | Path) -> None:
        """Install packages and nothing that they ask for: requirements/ names everything."""
        config = steps.run([self.python, "-m", "pip", "config", "list"])
        command = (self.venv / "bin" / "uv", "pip", "install", "--python", self.python)
        settings = uv_settings(config, os.environ)
        # mmcv would compile its operators against a torch that it sees
        steps.run([*command, "--no-deps", *arguments], {**settings, "PYTHONPATH": ""})

    def create(self, steps: Steps) -> None:
        """The first step: an empty environment with uv, unless there is one that serves."""
        steps.announce(f"virtual environment {self.venv}")
        if not self.usable():
            steps.run([sys.executable, "-m", "venv", self.venv])
        pip = (self.python, "-m", "pip", "--disable-pip-version-check", "--no-input")
        steps.run([*pip, "install", "-r", REQUIREMENTS / "uv.txt"], {"PIP_USER": "0"})

    def fill(self, steps: Steps) -> None:
        """Install everything that is pinned."""
        steps.announce("libraries, torch among them (about 5 GB on disk)")
        # mmcv has no record of how it was made, so that it is installed anew.
        self.uv(steps, "--reinstall-package", "onedl-mmcv", "-r", REQUIREMENTS / "lock.txt")
        if not self.compiled:
            return
        if self.mmcv.wheel() is None:
            steps.announce(f"mmcv: compiling its operators, once, for {self.mmcv.wheels}")
            self.uv(steps, "-r", REQUIREMENTS / "compile.txt")
            self.mmcv.compile(self.python, steps)
        else:
            steps.announce(f"mmcv: from {self.mmcv.wheels}")
        self.uv(steps, "--reinstall-package", "onedl-mmcv", str(self.mmcv.wheel()))

    def prepare(self) -> None:
        """Raise SetupError for what would fail later, and make room."""
        compiles = self.compiled and self.mmcv.wheel() is None
        if compiles:
            check_compiler()
        if not self.usable():
            self.clear()
            check_space(self.venv, SPACE + COMPILE_SPACE * compiles)

    def set_up(self) -> None:
        """Bring the environment to what is wanted; nothing happens if it is there already."""
        wanted = self.wanted()
        if self.recorded() == wanted:
            return
        with only_one(cache_root() / "setup.lock"):
            recorded = self.recorded()
            if recorded != wanted:
                self.update(wanted, filled=recorded[::2] == wanted[::2])

    def update(self, wanted: list[str], filled: bool) -> None:
        """Do what is missing: everything, or only the installation of this checkout."""
        if not filled:
            self.prepare()
        steps = Steps(2 if filled else 4 + self.compiled, self.venv / "setup-logs")
        self.stamp.unlink(missing_ok=True)
        if not filled:
            self.create(steps)
            self.fill(steps)
        steps.announce("mmvitssl itself, editable")
        self.uv(steps, "--no-build-isolation", "-e", ROOT)
        steps.announce("check: import everything, run an operator of mmcv")
        # Python keeps the bytecode of what it imports, so that later starts take half the time.
        env = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": ""}
        print(f"       {steps.run([self.python, '-c', VERIFY], env).splitlines()[-1]}")
        self.stamp.write_text("\n".join(wanted) + "\n", encoding="utf-8")
        print(f"set up in {duration(time.monotonic() - steps.started)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument(
        "--mmcv", choices=OPERATORS, help="its operators: compiled here, or torchvision's"
    )
    args = parser.parse_args()
    for ending in (signal.SIGTERM, signal.SIGHUP):  # end what was started, as Ctrl-C does
        signal.signal(ending, lambda number, frame: sys.exit(128 + number))
    try:
        check_python(sys.version_info[:2])
        Environment(args.venv.expanduser().absolute(), args.mmcv).set_up()
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
