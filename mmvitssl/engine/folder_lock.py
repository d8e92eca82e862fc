"""One training in a work folder at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from pathlib import Path

from mmvitssl.engine.errors import UserError
from mmvitssl.writing import WriteError, remove_parts

NAME = ".lock"
_held: dict[str, int] = {}  # open as long as the process lives: closing one unlocks


def _is_first() -> bool:
    names = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
    return next((os.environ[name] for name in names if name in os.environ), "0") == "0"


def lock_folder(folder: str | Path) -> None:
    """Keep other trainings out of a folder until this process ends, however it ends.

    The lock is a POSIX record lock: the kernel drops it with the process that holds it (child
    processes do not inherit it), and network file systems know it between machines. The file that
    carries it stays and means nothing by itself. The first process of a job holds it.

    Raises:
        UserError: another training has the folder, or it cannot be written to.
    """
    folder = Path(folder)
    if not _is_first():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder.resolve() / NAME
        if str(path) in _held:
            return
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(
            f"The work folder {folder.absolute()} cannot be written to ({error.strerror}): choose "
            f"another --work-dir."
        ) from error
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(handle, 200).decode(errors="replace").strip()
        os.close(handle)
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise UserError(
                f"Another training is running in {folder.absolute()} ({holder or 'unknown'}): wait "
                f"for it, stop it, or choose another --work-dir."
            ) from error
        print(
            f"warning: the file system of {folder.absolute()} has no locks ({error}); nothing "
            f"keeps a second training out of this folder.",
            file=sys.stderr,
        )
        return
    _held[str(path)] = handle
    remove_parts(folder)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    except OSError as error:
        raise WriteError(folder, error) from error
