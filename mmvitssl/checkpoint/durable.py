"""Writing checkpoints that survive crashes and full disks, and finding the newest good one."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import torch

from mmvitssl.checkpoint.safe import CheckpointError, NewerFileError, load_file
from mmvitssl.checkpoint.sums import add_sums
from mmvitssl.writing import part_of, reason, write_bytes, write_text

LAST, LINK = "last_checkpoint", "last.pth"
_good: set[tuple[str, int, int]] = set()  # path, size and time of files that were read whole


class SaveError(CheckpointError):
    """A checkpoint could not be written; older ones are as they were."""


def save(content: dict[str, Any], path: str | Path) -> None:
    """``torch.save`` with a checksum of every tensor, by :func:`~mmvitssl.writing.write_bytes`.

    Raises:
        SaveError: the disk is full, or the file cannot be written for another reason.
    """
    path = Path(path)
    add_sums(content)
    try:
        write_bytes(path, lambda file: torch.save(content, file))
    except OSError as error:
        raise SaveError(_not_written(path, error)) from error


def _not_written(path: Path, error: OSError) -> str:
    others = [other.name for other in checkpoints_in(path.parent)]
    kept = f"the older ones are as they were ({', '.join(others)})" if others else "there is none"
    return (
        f"The checkpoint {path} could not be written: {reason(path, error)}; {kept}. Make room or "
        f"choose another --work-dir, and go on with --resume."
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
    part = part_of(folder / LINK)
    try:
        write_text(folder / LAST, name)
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
    """Why a checkpoint cannot be resumed from; empty: it was read whole and is good.

    Raises:
        NewerFileError: a later version of this package wrote it.
    """
    try:
        state = path.stat()
        known = (str(path.absolute()), state.st_size, state.st_mtime_ns)
        if known in _good:
            return ""
        meta = load_file(path).get("meta")
    except OSError as error:
        return f"{path} cannot be read: {error}."
    except NewerFileError:  # it is good, and to go on from an older one would be wrong
        raise
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
        CheckpointError: all that are there are damaged, or a later version of this package wrote
            the newest.
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
