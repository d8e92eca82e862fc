"""Keep freed memory in the process on CPUs."""

from __future__ import annotations

import ctypes
import os

# numbers of mallopt's parameters in malloc.h
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next tensors instead of returning it.

    By default glibc returns freed memory to the system above a threshold. The next operation asks
    for it again, and the kernel must fill its pages with zeros first: an eighth of a training step
    of a small ViT (docs/performance.md). Numbers do not change.

    Does nothing where the user chose settings of the allocator (``MALLOC_*``, ``GLIBC_TUNABLES`` or
    a library in ``LD_PRELOAD``), nor without glibc.

    Returns:
        Whether the setting was made.
    """
    chosen = [name for name in os.environ if name.startswith("MALLOC_")]
    if chosen or os.environ.get("GLIBC_TUNABLES") or os.environ.get("LD_PRELOAD"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return all(library.mallopt(which, LARGEST) for which in (MMAP_THRESHOLD, TRIM_THRESHOLD))
