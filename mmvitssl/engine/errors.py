"""Errors that a person can act on, and which of them are printed as one paragraph."""

from __future__ import annotations

import gc
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from traceback import walk_tb

import torch

from mmvitssl.checkpoint import CheckpointError
from mmvitssl.datasets.files import BrokenImageError
from mmvitssl.engine import build_errors
from mmvitssl.engine.stopping import Preempted
from mmvitssl.extras import MissingExtraError
from mmvitssl.writing import FULL, WriteError


class UserError(ValueError):
    """Something in the config, the options or the data that the user can mend."""


EXPLAINED = (
    UserError, CheckpointError, FileNotFoundError, BrokenImageError, MissingExtraError, WriteError
)  # fmt: skip


@contextmanager
def building() -> Iterator[None]:
    """Turn what fails because of the config or the options into a :class:`UserError`.

    Errors of a running training keep their traceback, since they may be anything. So do errors
    that the user's own code raises: that is where the user looks for the fault.
    """
    try:
        yield
    except EXPLAINED:
        raise
    except (
        ValueError, TypeError, KeyError, AssertionError, ImportError, SyntaxError, AttributeError
    ) as error:  # fmt: skip
        # the frames of this function and of the block inside it come first
        if raised_by_user(error, skip=2):
            raise
        raise UserError(_in_words(error)) from error
    except (RuntimeError, ArithmeticError, LookupError) as error:
        # of a class of the config, such as sizes below zero; others may be anything
        words = build_errors.in_words(error)
        if words is None or raised_by_user(error, skip=2):
            raise
        raise UserError(words) from error


@lru_cache(maxsize=1)
def _library_folders() -> tuple[str, ...]:
    """Folders of Python and of installed packages."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found = {sysconfig.get_path(name) for name in names}
    packages = {folder for folder in sys.path if folder.endswith(("-packages", ".zip"))}
    return tuple(os.path.join(os.path.realpath(folder), "") for folder in found | packages)


def _owner(file: str) -> str:
    """'ours', 'library' or 'user': whose code a file is."""
    root = Path(__file__).resolve().parents[1]
    path = os.path.realpath(file)
    ours = (os.path.join(str(folder), "") for folder in (root, root.parent / "tools"))
    if path.startswith(tuple(ours)):
        return "ours"
    if not os.path.isfile(path) or path.startswith(_library_folders()):
        return "library"
    return "user"


def raised_by_user(error: BaseException, skip: int = 0) -> bool:
    """Whether the user's own code raised an error, itself or through a library that it called.

    Args:
        error: with its traceback.
        skip: outermost frames that do not count.
    """
    files = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)][skip:]
    owners = [owner for owner in map(_owner, files) if owner != "library"]
    return bool(owners) and owners[-1] == "user"


def _in_words(error: Exception) -> str:
    words = build_errors.in_words(error)
    if words is not None:
        return words
    if isinstance(error, KeyError) and error.args:
        return _missing_key(error)
    return f"{error}".strip() or type(error).__name__


def _missing_key(error: KeyError) -> str:
    """Registries raise a KeyError with a sentence; of others the key alone says nothing."""
    if isinstance(error.args[0], str) and " " in error.args[0].strip():
        return error.args[0]
    where = [(frame.f_code, line) for frame, line in walk_tb(error.__traceback__)]
    place = f" ({where[-1][0].co_filename}, line {where[-1][1]})" if where else ""
    name = where[-1][0].co_qualname if where and hasattr(where[-1][0], "co_qualname") else "a dict"
    return f"KeyError: {name} looks for the key {error.args[0]!r}, which is not there{place}."


def run_or_explain(main: Callable[[], None]) -> None:
    """Run a program; what a user can mend ends in one paragraph and exit status 2."""
    try:
        main()
        _leave_processes()
    except Preempted as stop:
        _leave_processes()
        print(f"\n{stop}", file=sys.stderr, flush=True)
        stop.let_others_end()
        sys.exit(stop.status)
    except EXPLAINED as error:
        traceback = os.environ.get("MMVITSSL_TRACEBACK")
        # our own words are clear wherever they come from; a missing file may be anything
        if traceback or (type(error) is FileNotFoundError and raised_by_user(error)):
            raise
        sys.exit(_explain(error))
    except OSError as error:
        if os.environ.get("MMVITSSL_TRACEBACK") or error.errno not in FULL:
            raise
        words = f"The disk is full: {error}. Make room, and go on with --resume."
        sys.exit(_explain(UserError(words)))


def _leave_processes() -> None:
    """Wait for the other processes and close the connections to them.

    gloo's threads may abort a process that exits before they end, and the launcher then ends all
    others, in the middle of a checkpoint if they are not done.
    """
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        gc.collect()  # the wrapped model, if it is still there, keeps the threads alive


def _explain(error: Exception) -> int:
    text = str(error).strip() or type(error).__name__
    if "Original Traceback" in text:  # a data loader's worker puts its traceback into the message
        found = map(_owner, re.findall(r'File "(.+?)"', text))
        owners = [owner for owner in found if owner != "library"]
        if not owners or owners[-1] != "user":
            text = text.splitlines()[-1].partition(": ")[2]
    print(f"\nerror: {text}", file=sys.stderr)
    print("(set MMVITSSL_TRACEBACK=1 to see where it arose)", file=sys.stderr)
    return 2
