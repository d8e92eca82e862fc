"""Files that are there as a whole or not at all, and what to do when they cannot be written."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
PART = re.compile(r"\..*\.(\d+)\.part(\.[^.]*)?")  # .NAME.PROCESS.part.SUFFIX
LONGEST = 200  # bytes of a name to which a file system still lets letters be added
NUMBER = re.compile(r"\(?os error (\d+)\)?")  # libraries in Rust write the errno into a message


def reason(path: Path, error: OSError) -> str:
    """Why a file could not be written, in words."""
    why = os.strerror(error.errno) if error.errno else str(error)
    if error.errno not in FULL:
        return why
    folder = next(parent for parent in path.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(folder).free / 1e6
    return f"the disk is full or a limit is reached ({why}; {free:.0f} MB are free)"


class WriteError(OSError):
    """A file could not be written; the file that was there before is as it was.

    Args:
        path: of the file.
        error: of the operating system.
    """

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(error.errno, os.strerror(error.errno or 0))
        kept = "; the file that is there is the older one" if os.path.isfile(path) else ""
        mend = (
            "Make room, or name another place" if error.errno in FULL
            else "Name a place that can be written to" if error.errno in REFUSED
            else "Name a shorter one" if error.errno == errno.ENAMETOOLONG
            else "Name another place"
        )  # fmt: skip
        self.words = f"{path.absolute()} could not be written: {reason(path, error)}{kept}. {mend}."

    def __str__(self) -> str:
        return self.words


def part_of(path: Path) -> Path:
    """The temporary name of a file, hidden beside it; the suffix stays, which writers look at."""
    stem = path.stem
    if len(path.name.encode()) > LONGEST:
        stem = hashlib.blake2b(path.name.encode(), digest_size=8).hexdigest()
    return path.with_name(f".{stem}.{os.getpid()}.part{path.suffix}")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _remove_dead_parts(part: Path) -> None:
    """Remove what processes left that were killed while they wrote the same file."""
    name = part.name.replace(f".{os.getpid()}.part", ".\0.part", 1)
    for left in part.parent.glob(glob.escape(name).replace("\0", "*")):
        found = PART.fullmatch(left.name)
        if found and not _runs(int(found[1])):
            left.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove what killed processes left in a work folder that this process has locked."""
    for level in (".*", "*/.*", "*/vis_data/.*", "*/vis_data/vis_image/.*"):
        for left in folder.glob(level):
            if PART.fullmatch(left.name):
                left.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk; some file systems have nothing to wait for."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _in_rust(error: Exception) -> OSError | None:
    """What the operating system said, from a message of a library that is written in Rust."""
    found = NUMBER.search(str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Write a file under a temporary name, wait until it is on the disk, and rename it.

    At any moment the old file is there or the new one, also after a crash. The folder is made. What
    is no regular file, such as ``/dev/stdout``, is written to as it is.

    Args:
        path: of the file; a link is followed.

    Yields:
        the temporary path to write to, in the same folder and with the same suffix.

    Raises:
        WriteError: there is no room, or the file cannot be written for another reason.
    """
    path = Path(path)
    try:
        target = path.resolve() if path.is_symlink() else path
        if target.exists() and not target.is_file() and not target.is_dir():
            yield target
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(target)
        _remove_dead_parts(part)
        try:
            yield part
            _sync(part)
            if target.exists():
                shutil.copymode(target, part)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        _sync(target.parent)
    except WriteError:
        raise
    except FileExistsError as error:  # a file is where the folder should be
        raise WriteError(path, NotADirectoryError(errno.ENOTDIR, "")) from error
    except OSError as error:
        raise WriteError(path, error) from error
    except Exception as error:
        said = _in_rust(error) if type(error).__module__.startswith("safetensors") else None
        if said is None:
            raise
        raise WriteError(path, said) from error


def write_text(path: str | Path, text: str, errors: str = "strict") -> None:
    """Write a text file by :func:`whole`."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", errors=errors)


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


def write_bytes(path: str | Path, write: Callable[[Any], object]) -> None:
    """Write a file by :func:`whole`, with a function that takes an open file.

    Args:
        path: of the file.
        write: takes the file, opened for bytes.
    """
    with whole(path) as part, open(part, "wb") as file:
        remembering = _Remembering(file)
        try:
            write(remembering)
        except RuntimeError:
            if remembering.error is not None:
                raise remembering.error from None
            raise
