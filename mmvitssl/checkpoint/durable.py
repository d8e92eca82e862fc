"""Writing checkpoints that survive crashes and full disks, and finding the newest good one."""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mmvitssl.checkpoint.safe import CheckpointError, load_file
from mmvitssl.checkpoint.sums import add_sums

LAST, LINK = "last_checkpoint", "last.pth"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_good: set[tuple[str, int, int]] = set()  # path, size and time of files that were read whole


class SaveError(CheckpointError):
    """A checkpoint could not be written; older ones are as they were."""


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder last; file systems that cannot do it have nothing to wait for."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


class _Remembering:
    """A file that raises its first error again: torch turns it into one that does not say why."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self.file.flush()


def write_whole(path: Path, write: Callable[[Any], None]) -> None:
    """Write a file under a temporary name, wait until it is on the disk, and rename it.

    A file of that name is replaced in one step: at any moment it is the old or the new one.

    Args:
        path: of the file.
        write: gets the file, opened for bytes.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            remembering = _Remembering(file)
            try:
                write(remembering)
            except RuntimeError:
                if remembering.error is not None:
                    raise remembering.error from None
                raise
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(path.parent)


def save(content: dict[str, Any], path: str | Path) -> None:
    """``torch.save`` with a checksum of every tensor, by :func:`write_whole`.

    Raises:
        SaveError: the disk is full, or the file cannot be written for another reason.
    """
    path = Path(path)
    add_sums(content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_parts(path)
        write_whole(path, lambda file: torch.save(content, file))
    except OSError as error:
        raise SaveError(_not_written(path, error)) from error


def _remove_parts(path: Path) -> None:
    """Remove what processes left that were killed while they wrote this file."""
    for left in path.parent.glob(f".{path.name}.*.part"):
        left.unlink(missing_ok=True)


def _not_written(path: Path, error: OSError) -> str:
    others = [other.name for other in checkpoints_in(path.parent)]
    kept = f"the older ones are as they were ({', '.join(others)})" if others else "there is none"
    why = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in FULL:
        free = shutil.disk_usage(path.parent).free / 1e6
        why = f"the disk is full or a limit is reached ({why}; {free:.0f} MB are free)"
    return (
        f"The checkpoint {path} could not be written: {why}; {kept}. Make room or choose another "
        f"--work-dir, and go on with --resume."
    )


def checkpoints_in(folder: str | Path) -> list[Path]:
    """Checkpoints of a run that it can be resumed from, by file name and number."""
    pattern = re.compile(r"(?!best_)[^-]*?(\d+)\.pth")
    found = [(pattern.fullmatch(path.name), path) for path in Path(folder).glob("*.pth")]
    return [path for _, path in sorted((int(m[1]), path) for m, path in found if m)]


def point_to_last(folder: str | Path, path: str | Path) -> None:
    """Let ``last.pth`` and ``last_checkpoint`` of a work folder name a checkpoint.

    Both say how to get there from the folder, so that it can be moved.

    Raises:
        SaveError: they cannot be written.
    """
    folder = Path(folder)
    name = os.path.relpath(path, folder)
    part = folder / f".{LINK}.{os.getpid()}.part"
    try:
        write_whole(folder / LAST, lambda file: file.write(name.encode()))
        part.unlink(missing_ok=True)
        part.symlink_to(name)
        os.replace(part, folder / LINK)
    except OSError as error:
        raise SaveError(_not_written(folder / LINK, error)) from error


def _last_named(folder: Path) -> Path | None:
    """What ``last_checkpoint`` names; the file of that name in a folder that was moved."""
    file = folder / LAST
    if not file.is_file():
        return None
    named = Path(file.read_text(errors="replace").strip())
    here = folder / named.name
    try:
        path = here if named.is_absolute() and here.is_file() else folder / named
        return path if path.is_file() else None
    except (OSError, ValueError):  # what is left of a damaged file can be no name
        return None


def damage_of(path: Path) -> str:
    """Why a checkpoint cannot be resumed from; empty: it was read whole and is good."""
    try:
        state = path.stat()
        known = (str(path.absolute()), state.st_size, state.st_mtime_ns)
        if known in _good:
            return ""
        meta = load_file(path).get("meta")
    except OSError as error:
        return f"{path} cannot be read: {error}."
    except CheckpointError as error:
        return str(error)
    if not isinstance(meta, dict) or "iter" not in meta:
        return f"{path} is no checkpoint of a training."
    _good.add(known)
    return ""


def _iteration(path: Path) -> float:
    """At which iteration a checkpoint was written; infinite: it cannot be read."""
    try:
        return float(load_file(path, mmap=True)["meta"]["iter"])
    except (CheckpointError, OSError, LookupError, TypeError):
        return math.inf


def newest_good(folder: str | Path) -> str | None:
    """The newest checkpoint of a work folder that can be read whole.

    Newer ones that are damaged are named in a warning.

    Returns:
        Its path; None: the folder has no checkpoint.

    Raises:
        CheckpointError: all that are there are damaged.
    """
    folder = Path(folder)
    damaged: list[str] = []
    last = _last_named(folder)
    if last is not None:
        problem = damage_of(last)
        if not problem:
            return str(last)
        damaged.append(problem)
    others = [path for path in checkpoints_in(folder) if last is None or path != last]
    for path in sorted(others, key=_iteration, reverse=True):
        problem = damage_of(path)
        if not problem:
            if damaged:
                _say(f"{' '.join(damaged)} Going on from {path} instead.")
            return str(path)
        damaged.append(problem)
    if damaged:
        raise CheckpointError(
            f"No checkpoint in {folder.absolute()} can be resumed from: {' '.join(damaged)} Copy a "
            f"good one there, or start anew in another --work-dir."
        )
    return None


def _say(words: str) -> None:
    """Warn, in the first process: the runner and its log are not there yet."""
    if os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0":
        print(f"warning: {words}", file=sys.stderr, flush=True)
