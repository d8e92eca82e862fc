"""Where a result comes from: the machine, the versions, the commit."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch
from mmengine.device import get_device


def processor() -> str:
    """The GPU's name, else the CPU's and whether it multiplies bfloat16."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    flags = Path("/proc/cpuinfo")
    text = flags.read_text() if flags.is_file() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    extra = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in text]
    return " ".join([names[0] if names else platform.processor(), *extra])


def describe() -> dict[str, str]:
    """Processor, kind of device, Python and torch of this machine."""
    return {
        "device": get_device(),
        "processor": processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def commit(root: Path) -> str:
    """The checkout's commit, with '+changes' where its files differ; 'unknown' without git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "mmvitssl", "configs")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
