"""What libjpeg says of damaged data, which it only writes to the standard error."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ENDED_EARLY = b"remature end of "  # both of libjpeg's warnings begin so
_decoding = threading.Lock()


def _unlock() -> None:
    global _decoding
    _decoding = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_unlock)


@contextmanager
def libjpeg_heard() -> Iterator[list[bytes]]:
    """Collect what C code writes to the standard error: only there libjpeg says that data ended.

    It fills the rest of the image with grey. What is no such warning is passed on.
    """
    heard: list[bytes] = []
    with _decoding:
        try:
            before = os.dup(2)
        except OSError:  # there is no standard error
            yield heard
            return
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)  # whoever else writes must not wait for a reader
        os.dup2(write, 2)
        try:
            yield heard
        finally:
            os.dup2(before, 2)
            os.close(write)
            with suppress(BlockingIOError):
                heard += os.read(read, 2**16).splitlines(keepends=True)
            os.close(read)
            os.close(before)
            others = b"".join(line for line in heard if ENDED_EARLY not in line)
            with suppress(OSError):  # nobody may read it any more
                if others:
                    os.write(2, others)
