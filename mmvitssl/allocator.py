"""Keep freed memory in the process on CPUs."""

from __future__ import annotations

import ctypes
import os

# numbers of mallopt's parameters in malloc.h, and their defaults
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
DEFAULT = 128 * 1024
LARGEST = 2**31 - 1


def keep_freed_memory(keep: bool = True) -> bool:
    """Let the C library keep freed memory for the next tensors instead of returning it.

    By default glibc returns large blocks to the system as soon as they are freed. The next
    operation asks for new ones, whose pages the kernel must fill with zeros first: about a fifth of
    a training step on a CPU. Numbers do not change.

    Does nothing where the user chose settings of the allocator (``MALLOC_*``, ``GLIBC_TUNABLES`` or
    a library in ``LD_PRELOAD``), nor without glibc.

    Args:
        keep: False: return it again, as by default.

    Returns:
        Whether the setting was made.
    """
    chosen = [name for name in os.environ if name.startswith("MALLOC_")]
    if chosen or os.environ.get("GLIBC_TUNABLES") or os.environ.get("LD_PRELOAD"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    size = LARGEST if keep else DEFAULT
    return bool(library.mallopt(MMAP_THRESHOLD, size) and library.mallopt(TRIM_THRESHOLD, size))
