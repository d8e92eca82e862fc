"""Images of an LMDB, read at random places."""

from __future__ import annotations

import json
import os
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mmvitssl.datasets.images import BrokenImageError
from mmvitssl.datasets.lmdb_pages import damage_of_pages
from mmvitssl.datasets.shard_index import MAKE, check_columns
from mmvitssl.extras import require

DATABASE = "data.mdb"
CONTENTS = b"contents"
OPENED: list[Any] = []  # the LMDBs of this process


def entry_key(number: int) -> bytes:
    """Under which an LMDB keeps an image."""
    return b"%012d" % number


@cache
def _environment(root: str) -> Any:
    """An open LMDB, of which there may be one a process, and which must not live through a fork."""
    lmdb = import_lmdb()
    environment = lmdb.open(root, readonly=True, lock=False, readahead=False, max_readers=1)
    pages, size = environment.info()["last_pgno"] + 1, environment.stat()["psize"]
    file = Path(root) / DATABASE
    if pages * size > file.stat().st_size:  # reading a page that is not there is a SIGBUS
        environment.close()
        raise BrokenImageError(
            f"The LMDB {file} has {file.stat().st_size} bytes, and its table needs {pages * size}: "
            f"it is truncated. Copy it again, or make it with {MAKE}."
        )
    OPENED.append(environment)
    return environment


def _check_pages(root: Path) -> None:
    """Look at the pages before liblmdb does."""
    file = root / DATABASE
    damage = damage_of_pages(file) if file.is_file() else ""
    if damage:
        raise BrokenImageError(
            f"The LMDB {file} is damaged: {damage}. Copy it again, or make it with {MAKE}."
        )


def _close_all() -> None:
    _environment.cache_clear()
    while OPENED:
        OPENED.pop().close()


os.register_at_fork(before=_close_all)  # whoever reads next opens it again


class LmdbReader:
    """Images of an LMDB by number; it is opened in the process that reads.

    Args:
        root: the folder with ``data.mdb``.

    Raises:
        MissingExtraError: the package lmdb is not installed.
        BrokenImageError: no such database, or one that was not finished.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        _check_pages(root)
        contents = self._get(CONTENTS)
        if contents is None:
            raise BrokenImageError(
                f"The LMDB in {root} was not finished: run {MAKE} with the same arguments again."
            )
        try:
            index = json.loads(zlib.decompress(contents))
        except (ValueError, zlib.error) as error:
            raise BrokenImageError(
                f"The table of contents of {root / DATABASE} is damaged ({error}): copy it again, "
                f"or make it with {MAKE}."
            ) from error
        check_columns(index, root / DATABASE, ("crc32", "key"), f"python {MAKE}")
        self.names = [f"{root / DATABASE}/{name}" for name in index["name"]]
        self.labels = None if index["label"] is None else np.array(index["label"], dtype=np.int64)
        self.classes = tuple(map(str, index.get("classes") or ()))
        self._crc = np.array(index["crc32"], dtype=np.int64)
        self._key = np.array(index["key"], dtype=np.int64)

    def _get(self, key: bytes) -> bytes | None:
        lmdb = import_lmdb()
        try:
            environment = _environment(str(self._root.resolve()))
            with environment.begin() as transaction:
                return transaction.get(key)
        except lmdb.Error as error:
            raise BrokenImageError(f"The LMDB in {self._root} cannot be read: {error}.") from error

    def read(self, number: int) -> bytes:
        """The encoded image.

        Raises:
            BrokenImageError: it is missing, or not what was written.
        """
        data = self._get(entry_key(int(self._key[number])))
        if data is None or zlib.crc32(data) != self._crc[number]:
            raise BrokenImageError(
                f"{self.names[number]} is {'missing' if data is None else 'not what was written'}: "
                f"the database was changed, or its disk is failing. Make it again with {MAKE}."
            )
        return data


def import_lmdb() -> Any:
    """The package lmdb, which only LMDBs need.

    Raises:
        MissingExtraError: it is not installed.
    """
    require("An LMDB", "lmdb", "lmdb")
    import lmdb

    return lmdb
