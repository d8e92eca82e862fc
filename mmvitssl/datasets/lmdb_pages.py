"""Damage in the pages of an LMDB, which liblmdb trusts: it dies of SIGBUS or SIGSEGV."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

PAGE = struct.Struct("<QHHHH")  # number, unused, flags, end of the pointers, begin of the nodes
META = struct.Struct("<IIQQ")  # magic, version, address, size of the map
TREE = struct.Struct("<IHHQQQQQ")  # page size, flags, depth, pages of three kinds, entries, root
NODE = struct.Struct("<HHHH")  # low and high half of a number, flags, length of the key
BRANCH, LEAF, OVERFLOW = 1, 2, 4
BIG = 1  # a node whose data has pages of its own
MAGIC, NO_PAGE = 0xBEEFC0DE, 2**64 - 1
SMALLEST, LARGEST = 512, 65536  # bytes of a page
KINDS = 0x0F  # flags that tell what a page is


def damage_of_pages(file: Path) -> str:
    """What is wrong with the pages that are read when an entry is looked for.

    Args:
        file: ``data.mdb``.

    Returns:
        The number of the first wrong page and what is wrong with it; empty: nothing.
    """
    if file.stat().st_size < 2 * SMALLEST:
        return "it is truncated"
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            _check(data)
        except (ValueError, struct.error) as error:
            return str(error)
    return ""


def _check(data: mmap.mmap) -> None:
    (size,) = struct.unpack_from("<I", data, PAGE.size + META.size)
    if not SMALLEST <= size <= LARGEST or size & (size - 1):
        raise ValueError(f"its pages have {size} bytes")
    metas = []
    for page in (0, 1):
        magic, *_ = META.unpack_from(data, page * size + PAGE.size)
        if magic == MAGIC:
            at = page * size + PAGE.size + META.size + TREE.size  # after the tree of free pages
            last, transaction = struct.unpack_from("<QQ", data, at + TREE.size)
            metas.append((transaction, last, TREE.unpack_from(data, at)))
    if not metas:
        raise ValueError("pages 0 and 1 are no heads of an LMDB")
    _, last, (*_, depth, _, _, _, _, root) = max(metas)
    pages = last + 1
    if pages * size > len(data):  # reading a page that is not there is a SIGBUS
        raise ValueError(f"it is truncated: {len(data)} bytes, of {pages * size} that it needs")
    todo, seen = [(root, depth)] if root != NO_PAGE else [], set()
    while todo:
        page, levels = todo.pop()
        if not 2 <= page < pages or page in seen or levels < 1:
            raise ValueError(f"page {page} is outside the tree, or twice in it")
        seen.add(page)
        todo += [(child, levels - 1) for child in _children(data, page, size, pages, levels)]


def _children(data: mmap.mmap, page: int, size: int, pages: int, levels: int) -> list[int]:
    start = page * size
    number, _, flags, lower, upper = PAGE.unpack_from(data, start)
    kind = BRANCH if levels > 1 else LEAF
    if number != page or flags & KINDS != kind:
        raise ValueError(f"page {page} says that it is page {number} of kind {flags & KINDS}")
    if not PAGE.size <= lower <= upper <= size or (lower - PAGE.size) % 2:
        raise ValueError(f"page {page} has room that it cannot have")
    children = []
    for place in struct.unpack_from(f"<{(lower - PAGE.size) // 2}H", data, start + PAGE.size):
        if not upper <= place <= size - NODE.size:
            raise ValueError(f"page {page} has an entry outside of it")
        low, high, node_flags, key = NODE.unpack_from(data, start + place)
        end = place + NODE.size + key
        if kind == BRANCH:
            children.append(low | high << 16 | node_flags << 32)
        elif node_flags & BIG:
            _check_overflow(data, start + end, low | high << 16, size, pages)
            end += 8
        else:
            end += low | high << 16
        if end > size or (kind == LEAF and node_flags & ~BIG):
            raise ValueError(f"page {page} has an entry that does not fit into it")
    return children


def _check_overflow(data: mmap.mmap, at: int, length: int, size: int, pages: int) -> None:
    (page,) = struct.unpack_from("<Q", data, at)
    if not 2 <= page < pages:
        raise ValueError(f"an entry is on page {page} of {pages}")
    number, _, flags, low, high = PAGE.unpack_from(data, page * size)
    count = low | high << 16
    if number != page or flags & KINDS != OVERFLOW or page + count > pages:
        raise ValueError(f"page {page} is not the begin of an entry's data")
    if PAGE.size + length > count * size:
        raise ValueError(f"the data of an entry on page {page} are longer than its pages")
