"""Images in tar shards (WebDataset's layout) or in LMDB, read at random places."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from mmvitssl.datasets.images import EXTENSIONS, SHOWN, BrokenImageError, ImageFiles, Transform
from mmvitssl.datasets.lmdb_pages import damage_of_pages
from mmvitssl.extras import require
from mmvitssl.registry import DATASETS

VERSION = 1
SEAL = "checksum"
SUFFIX = ".index.json"
DATABASE = "data.mdb"
CONTENTS = b"contents"
END = 1024  # bytes of zeros that end a tar file
MAKE = "tools/data/make_shards.py"
OPENED: list[Any] = []  # the LMDBs of this process


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def entry_key(number: int) -> bytes:
    """Under which an LMDB keeps an image."""
    return b"%012d" % number


def index_of(shard: Path) -> Path:
    """The index that belongs to a tar shard."""
    return shard.with_name(shard.name + SUFFIX)


def index_tar(shard: Path) -> dict[str, Any]:
    """What a tar shard holds, found by reading it from end to end.

    Members of one sample lie next to each other and share the name up to its first dot: an image
    and, where it has a label, ``.cls`` with its number. Other members are left out.

    Returns:
        ``version``, ``bytes`` and ``sha256`` of the shard, and by image ``name``, ``offset``,
        ``size``, ``crc32`` and ``label`` (None: the shard has none).

    Raises:
        BrokenImageError: no tar file, one that ends early, two images of one sample, or labels of
            some images only.
    """
    images: dict[str, tuple[str, int, int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(shard, "r:") as archive, shard.open("rb") as stream:
            for member in archive:
                folder, _, file = member.name.rpartition("/")
                stem, _, extension = file.partition(".")
                stem = f"{folder}/{stem}"
                if not member.isfile():
                    continue
                stream.seek(member.offset_data)
                content = stream.read(member.size)
                if len(content) < member.size:
                    raise tarfile.ReadError("unexpected end of data")
                if extension == "cls":
                    labels[stem] = int(content)
                elif f".{extension}".lower() in EXTENSIONS:
                    if stem in images:
                        raise ValueError(f"two images of the sample {stem}")
                    crc = zlib.crc32(content)
                    images[stem] = (member.name, member.offset_data, member.size, crc)
            stream.seek(-min(END, shard.stat().st_size), os.SEEK_END)
            if stream.read() != bytes(END):
                raise tarfile.ReadError("it has no end")
    except (tarfile.TarError, ValueError, OSError) as error:
        raise BrokenImageError(f"The shard {shard} cannot be read: {error}.") from error
    if labels and set(labels) != set(images):
        raise BrokenImageError(
            f"The shard {shard} has {len(images)} images and {len(labels)} labels."
        )
    columns = list(zip(*images.values(), strict=True)) or [(), (), (), ()]
    entries = dict(zip(("name", "offset", "size", "crc32"), map(list, columns), strict=True))
    return {
        "version": VERSION,
        "bytes": shard.stat().st_size,
        "sha256": digest(shard),
        **entries,
        "label": [labels[stem] for stem in images] if labels else None,
    }


def _checksum(table: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(table, sort_keys=True).encode())


def sealed(table: dict[str, Any], **options: Any) -> str:
    """A table of contents as JSON, with a checksum of itself."""
    return json.dumps({**table, SEAL: _checksum(table)}, **options)


def read_sealed(path: Path) -> Any:
    """What :func:`sealed` wrote; older files have no checksum.

    Raises:
        ValueError: it is no JSON, or its checksum differs.
    """
    table = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(table, dict) and SEAL in table:
        seal = table.pop(SEAL)
        if seal != _checksum(table):
            raise ValueError("its checksum differs")
    return table


def check_columns(index: Any, path: Path, numbers: Sequence[str], mend: str) -> None:
    """Refuse an index whose columns are not what a writer makes, with one entry per image.

    Raises:
        BrokenImageError: names the column.
    """
    names = index.get("name") if isinstance(index, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BrokenImageError(f"The index {path} has no list 'name': make it again with `{mend}`.")
    columns = [*numbers, *(["label"] if index.get("label") is not None else [])]
    for column in columns:
        values = index.get(column)
        whole = isinstance(values, list) and all(
            type(value) is int and 0 <= value < 2**62 for value in values
        )
        if not whole or len(values or ()) != len(names):
            raise BrokenImageError(
                f"The index {path} is damaged: '{column}' is no list of {len(names)} numbers. Make "
                f"it again with `{mend}`."
            )
    if "label" not in index:
        raise BrokenImageError(f"The index {path} has no entry 'label': make it with `{mend}`.")


def read_index(shard: Path, verify: bool = False) -> dict[str, Any]:
    """The index of a shard, which must fit it.

    Args:
        shard: the tar file.
        verify: whether to compare the shard's SHA-256 too.

    Raises:
        FileNotFoundError: the shard has no index.
        BrokenImageError: an index that cannot be read, or a shard that has changed since.
    """
    path = index_of(shard)
    if not path.is_file():
        raise FileNotFoundError(
            f"The shard {shard} has no index {path.name}: make it with `python {MAKE} --index "
            f"{shard.parent}`."
        )
    try:
        index = read_sealed(path)
        version, size = index["version"], index["bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenImageError(f"{path} is no index of a shard: {error}.") from error
    if version != VERSION:
        raise BrokenImageError(f"{path} has version {version}, and {VERSION} can be read.")
    check_columns(index, path, ("offset", "size", "crc32"), f"python {MAKE} --index {path.parent}")
    found = shard.stat().st_size
    if found != size or (verify and digest(shard) != index["sha256"]):
        what = f"has {found} bytes and not {size}" if found != size else "has other contents"
        raise BrokenImageError(
            f"The shard {shard} {what}: it is truncated or was changed behind its index. Copy it "
            f"again, or delete {path.name} and run `python {MAKE} --index {shard.parent}`."
        )
    return index


MEND_INFO = f"copy it again, or run {MAKE} with the same arguments again"


class TarReader:
    """Images of tar shards by number; files are opened in the process that reads.

    Args:
        root: the folder of ``*.tar`` and their indices.
        verify: whether to compare the SHA-256 of every shard.

    Attributes:
        names: of the images, ``shard/member``.
        labels: (N,) int64, or None.
        classes: names of the classes, where ``dataset.json`` has them.

    Raises:
        FileNotFoundError: no shards, a shard without index, or a shard that is missing.
        BrokenImageError: a shard that does not fit its index.
    """

    def __init__(self, root: Path, verify: bool = False) -> None:
        self.shards = sorted(root.glob("*.tar"))
        info = read_info(root)
        if info is not None:
            missing = sorted(set(info["shards"]) - {shard.name for shard in self.shards})
            if missing:
                raise FileNotFoundError(
                    f"{len(missing)} of {len(info['shards'])} shards are not in {root}, such as "
                    f"{', '.join(missing[:SHOWN])}: copy them again, or run {MAKE} again."
                )
        indices = [read_index(shard, verify) for shard in self.shards]
        labelled = {index["label"] is not None for index in indices if index["name"]}
        if len(labelled) > 1:
            raise BrokenImageError(f"Some shards of {root} have labels and others none.")
        counts = [len(index["name"]) for index in indices]
        self.names = [
            f"{shard}/{name}"
            for shard, index in zip(self.shards, indices, strict=True)
            for name in index["name"]
        ]
        self._shard = np.repeat(np.arange(len(counts)), counts)
        self._offset, self._size, self._crc = (
            np.concatenate([np.array(index[name], dtype=np.int64) for index in indices])
            for name in ("offset", "size", "crc32")
        )
        self.labels: np.ndarray | None = None
        if labelled == {True}:
            self.labels = np.concatenate(
                [np.array(index["label"] or [], dtype=np.int64) for index in indices]
            )
        self.classes = tuple(info["classes"]) if info is not None else ()
        self._open: dict[int, int] = {}
        self._owner = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}, "_owner": -1}

    def read(self, number: int) -> bytes:
        """The encoded image.

        Raises:
            BrokenImageError: its bytes are not those of the index.
        """
        if self._owner != os.getpid():
            self._open, self._owner = {}, os.getpid()
        shard = int(self._shard[number])
        if shard not in self._open:
            self._open[shard] = os.open(self.shards[shard], os.O_RDONLY)
        data = os.pread(self._open[shard], int(self._size[number]), int(self._offset[number]))
        if zlib.crc32(data) != self._crc[number]:
            raise BrokenImageError(
                f"{self.names[number]} is not what the index says: the shard was changed, or its "
                f"disk is failing. Run `python {MAKE} --verify {self.shards[shard].parent}`."
            )
        return data


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


def read_info(root: Path) -> dict[str, Any] | None:
    """``dataset.json`` of a finished set of shards; None: others made the shards.

    Raises:
        BrokenImageError: shards that were not finished.
    """
    path = root / "dataset.json"
    if path.is_file():
        try:
            info = read_sealed(path)
        except (ValueError, RecursionError) as error:
            raise BrokenImageError(f"{path} is damaged ({error}): {MEND_INFO}.") from error
        lists = [info.get(key) for key in ("shards", "classes")] if isinstance(info, dict) else [0]
        if not all(
            isinstance(part, list) and all(isinstance(name, str) for name in part) for part in lists
        ):
            raise BrokenImageError(f"{path} has no lists 'shards' and 'classes': {MEND_INFO}.")
        return info
    if (root / "plan.json").is_file():
        raise BrokenImageError(
            f"The shards in {root} were not finished: run {MAKE} with the same arguments again."
        )
    return None


@DATASETS.register_module()
class ShardedImages(ImageFiles):
    """Images in tar shards with an index each, or in an LMDB: ``tools/data/make_shards.py``.

    Shards are read at random places through their indices. So the sampler deals images out, as with
    any other data set, and workers and processes lose none and read none twice.

    Args:
        root: the folder with ``*.tar`` and ``*.tar.index.json``, or with ``data.mdb``.
        pipeline, max_broken: see :class:`ImageFiles`.
        labelled: None: labels where there are some; True: they must be there; False: left out.
        verify: whether to compare the SHA-256 of every shard before training.

    Raises:
        FileNotFoundError: no such folder, no shards, or a shard without an index.
        BrokenImageError: a shard that is truncated, changed, or unfinished.
        ValueError: labels are asked for where there are none.
    """

    def __init__(
        self,
        root: str,
        pipeline: Sequence[dict[str, Any] | Transform],
        max_broken: int = 0,
        labelled: bool | None = None,
        verify: bool = False,
    ) -> None:
        folder = Path(root).expanduser()
        if (folder / DATABASE).is_file():
            self.reader: TarReader | LmdbReader = LmdbReader(folder)
        elif any(folder.glob("*.tar")):
            self.reader = TarReader(folder, verify)
        else:
            raise FileNotFoundError(
                f"There are neither *.tar shards nor {DATABASE} in {folder.absolute()}: make them "
                f"with {MAKE}, or set the dataset's root."
            )
        if labelled and self.reader.labels is None:
            raise ValueError(f"ShardedImages.labelled=True, but {folder} has no labels.")
        self.labels = None if labelled is False else self.reader.labels
        self.classes = () if labelled is False else self.reader.classes
        super().__init__(self.reader.names, pipeline, max_broken, check=0)

    def encoded(self, index: int) -> bytes:
        """The file of an image."""
        return self.reader.read(index)

    def _source(self, index: int) -> BytesIO:
        return BytesIO(self.encoded(index))
