"""Images in tar shards (WebDataset's layout) or in LMDB, read at random places."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from mmvitssl.datasets.images import SHOWN, BrokenImageError, ImageFiles, Transform
from mmvitssl.datasets.lmdb_reader import DATABASE, LmdbReader
from mmvitssl.datasets.shard_index import MAKE, read_index, read_info
from mmvitssl.registry import DATASETS


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
