"""Writing of tar shards and LMDBs, which can be taken up again wherever it ended."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any

from mmvitssl.datasets.decode import EncodedImage
from mmvitssl.datasets.files import MAX_PIXELS, BrokenImageError, read_file
from mmvitssl.datasets.images import ImageFiles
from mmvitssl.datasets.lmdb_reader import CONTENTS, DATABASE, entry_key, import_lmdb
from mmvitssl.datasets.packed import PackedImages
from mmvitssl.datasets.shard_index import VERSION, index_of, index_tar, read_index, sealed
from mmvitssl.writing import PART, write_text

PAGE = 4096  # LMDB's unit on disk
SPARE = 64 << 20  # bytes beyond the images that a disk must have free
TAIL = 1536  # bytes that a tar file needs beside an image, at most


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Say what to do when the disk is full, or does not write for another reason.

    Raises:
        OSError: in words; what was whole before is whole still.
    """
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{target} cannot be written ({error.strerror or error}). What is complete stays: make "
            f"room and run the same command again, which goes on from there."
        ) from error


class ShardWriter:
    """Writes a data set's encoded images, as they are, into shards.

    Args:
        source: any of the image data sets; its pipeline is not used.
        out: folder to write.
        kind: 'tar' or 'lmdb'.
        shard_size: images a tar shard, or a transaction of an LMDB.
        workers: threads that read and check images.
        max_broken: how many images that cannot be decoded are left out; they are listed in
            ``dataset.json``.
        say: told about progress.

    Raises:
        ValueError: an unknown kind, a size below 1, a folder that holds something else, or too
            little room on the disk.
    """

    def __init__(
        self,
        source: ImageFiles,
        out: Path,
        kind: str = "tar",
        shard_size: int = 1000,
        workers: int = 4,
        max_broken: int = 0,
        say: Callable[[str], None] = print,
        max_pixels: int | None = MAX_PIXELS,
    ) -> None:
        if kind not in ("tar", "lmdb") or shard_size < 1 or workers < 1:
            raise ValueError(
                f"format must be 'tar' or 'lmdb', shard size and workers at least 1; got '{kind}', "
                f"{shard_size} and {workers}."
            )
        self.source, self.out, self.kind = source, out, kind
        self.shard_size, self.workers, self.max_broken = shard_size, workers, max_broken
        self.say, self.max_pixels = say, max_pixels
        self.broken: list[str] = []

    def run(self) -> None:
        """Write what is not there yet.

        Raises:
            BrokenImageError: more than ``max_broken`` images cannot be decoded, or what was written
                reads back differently.
            OSError: the disk is full.
            ValueError: see above.
        """
        sizes = [self._bytes(index) for index in range(len(self.source))]
        plan = self._plan(sizes)
        path = self.out / "plan.json"
        if path.is_file():
            if json.loads(path.read_text(encoding="utf-8")) != plan:
                raise ValueError(
                    f"{self.out} holds shards of another source, format or size: choose another "
                    f"folder, or delete it."
                )
        elif self.out.is_dir() and any(not PART.fullmatch(p.name) for p in self.out.iterdir()):
            raise ValueError(f"{self.out} is not empty: choose another folder.")
        if (self.out / "dataset.json").is_file():
            self.say(f"{self.out} is complete already.")
            return
        with writing(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            self._check_room(sizes)
            write_text(path, json.dumps(plan))
        names = self._write_tar() if self.kind == "tar" else self._write_lmdb(sizes)
        info = {
            "version": VERSION, "images": len(self.source) - len(self.broken), "shards": names,
            "classes": list(self.source.classes), "broken": self.broken,
        }  # fmt: skip
        with writing(self.out):
            write_text(self.out / "dataset.json", sealed(info, indent=1))
        self.say(f"{self.out}: {info['images']} images, {len(self.broken)} left out.")

    def _bytes(self, index: int) -> int:
        if isinstance(self.source, PackedImages):
            return len(self.source.encoded(index))
        try:
            return os.stat(self.source.paths[index]).st_size
        except OSError:
            return 0  # it counts as broken when it is read

    def _plan(self, sizes: Sequence[int]) -> dict[str, Any]:
        labels = self.source.labels
        content = [self.source.paths, sizes, None if labels is None else labels.tolist()]
        return {
            "version": VERSION, "format": self.kind, "shard_size": self.shard_size,
            "max_broken": self.max_broken, "images": len(self.source),
            "source": hashlib.sha256(json.dumps(content).encode()).hexdigest(),
        }  # fmt: skip

    def _check_room(self, sizes: Sequence[int]) -> None:
        present = sum(path.stat().st_size for path in self.out.iterdir() if path.is_file())
        needed = sum(sizes) + TAIL * len(sizes) + SPARE - present
        free = shutil.disk_usage(self.out).free
        if needed > free:
            raise ValueError(
                f"{self.out} needs {needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free."
            )

    def _load(self, index: int) -> tuple[int, bytes, BrokenImageError | None]:
        path, error = self.source.paths[index], None
        try:
            if isinstance(self.source, PackedImages):
                data = self.source.encoded(index)
            else:
                data = read_file(path)
            EncodedImage(path, BytesIO(data), max_pixels=self.max_pixels).verify()
        except OSError as reason:
            error, data = BrokenImageError(f"The image {path} cannot be read ({reason})."), b""
        except BrokenImageError as reason:
            error = reason
        return index, data, error

    def _chunk(self, number: int) -> list[tuple[int, bytes]]:
        """The images of a shard that can be decoded, with their places in the source."""
        first = number * self.shard_size
        places = range(first, min(first + self.shard_size, len(self.source)))
        with ThreadPoolExecutor(self.workers) as pool:
            loaded = list(pool.map(self._load, places))
        for index, _, error in loaded:
            if error is not None:
                self._leave_out(self.source.paths[index], error)
        return [(index, data) for index, data, error in loaded if error is None]

    def _leave_out(self, path: str, error: BrokenImageError) -> None:
        self.broken.append(path)
        if len(self.broken) > self.max_broken:
            raise BrokenImageError(
                f"{error} Remove or mend it, or leave out some with --max-broken (now "
                f"{self.max_broken})."
            ) from error

    @property
    def _shards(self) -> int:
        return -(-len(self.source) // self.shard_size)

    def _name(self, index: int) -> str:
        suffix = PurePath(self.source.paths[index]).suffix.lower()
        return f"{index:09d}{suffix if not isinstance(self.source, PackedImages) else '.jpg'}"

    def _write_tar(self) -> list[str]:
        names = [f"shard-{number:06d}.tar" for number in range(self._shards)]
        for number, name in enumerate(names):
            shard = self.out / name
            if index_of(shard).is_file():
                self._take_up(number, read_index(shard, verify=True))
                continue
            chunk = self._chunk(number)
            temporary = self.out / f".{name}.tmp"
            with writing(shard):
                self._fill(temporary, chunk)
            index = self._verified(temporary, chunk)
            with writing(shard):
                temporary.replace(shard)
                write_text(index_of(shard), sealed(index))
            self.say(f"{name}: {len(chunk)} images ({number + 1} of {len(names)})")
        return names

    def _take_up(self, number: int, index: dict[str, Any]) -> None:
        first = number * self.shard_size
        places = range(first, min(first + self.shard_size, len(self.source)))
        there = set(index["name"])
        self.broken += [self.source.paths[k] for k in places if self._name(k) not in there]

    def _fill(self, path: Path, chunk: Sequence[tuple[int, bytes]]) -> None:
        with path.open("wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                for index, data in chunk:
                    members = [(self._name(index), data)]
                    if self.source.labels is not None:
                        label = str(int(self.source.labels[index])).encode()
                        members.append((f"{index:09d}.cls", label))
                    for name, content in members:
                        member = tarfile.TarInfo(name)
                        member.size = len(content)
                        archive.addfile(member, BytesIO(content))
            stream.flush()
            os.fsync(stream.fileno())

    def _verified(self, path: Path, chunk: Sequence[tuple[int, bytes]]) -> dict[str, Any]:
        index = index_tar(path)
        expected = [(self._name(k), len(data), zlib.crc32(data)) for k, data in chunk]
        if list(zip(index["name"], index["size"], index["crc32"], strict=True)) != expected:
            raise BrokenImageError(f"{path} reads back differently from what was written.")
        return index

    def _write_lmdb(self, sizes: Sequence[int]) -> list[str]:
        lmdb = import_lmdb()
        room = sum(-(-(size + PAGE) // PAGE) * PAGE for size in sizes) + 2 * SPARE
        try:
            with writing(self.out), lmdb.open(str(self.out), map_size=2 * room) as environment:
                parts = [self._part(environment, number) for number in range(self._shards)]
                contents: dict[str, Any] = {
                    name: [v for part in parts for v in part[name]] for name in parts[0]
                }
                if self.source.labels is None:
                    contents["label"] = None
                contents["classes"] = list(self.source.classes)
                with environment.begin(write=True) as transaction:
                    transaction.put(CONTENTS, zlib.compress(json.dumps(contents).encode()))
        except lmdb.Error as error:
            with writing(self.out):
                raise OSError(str(error)) from error
        return [DATABASE]

    def _part(self, environment: Any, number: int) -> dict[str, list[Any]]:
        """Write one transaction, or keep a complete one; it holds a list of its content."""
        key = b"part-%09d" % number
        with environment.begin() as transaction:
            known = transaction.get(key)
        if known is not None:
            part = json.loads(known)
            self.broken += part.pop("broken")
            return part
        before = len(self.broken)
        chunk = self._chunk(number)
        labels = self.source.labels
        part = {
            "key": [index for index, _ in chunk],
            "name": [self._name(index) for index, _ in chunk],
            "crc32": [zlib.crc32(data) for _, data in chunk],
            "label": [0 if labels is None else int(labels[index]) for index, _ in chunk],
        }
        with environment.begin(write=True) as transaction:
            for index, data in chunk:
                transaction.put(entry_key(index), data)
            transaction.put(key, json.dumps({**part, "broken": self.broken[before:]}).encode())
        with environment.begin() as transaction:
            for index, data in chunk:
                if transaction.get(entry_key(index)) != data:
                    raise BrokenImageError(f"{self.out} reads back differently from what was put.")
        self.say(f"{len(chunk)} images ({number + 1} of {self._shards} transactions)")
        return part


def index_folder(folder: Path, say: Callable[[str], None] = print) -> None:
    """Make the indices that shards of others lack.

    Raises:
        FileNotFoundError: no shards there.
        BrokenImageError: a shard that cannot be read.
    """
    shards = sorted(folder.glob("*.tar"))
    if not shards:
        raise FileNotFoundError(f"There are no *.tar shards in {folder.absolute()}.")
    for shard in shards:
        if index_of(shard).is_file():
            read_index(shard)
            continue
        index = index_tar(shard)
        with writing(index_of(shard)):
            write_text(index_of(shard), sealed(index))
        say(f"{shard.name}: {len(index['name'])} images")


def verify_folder(data: Any, say: Callable[[str], None] = print) -> None:
    """Read and decode every image of a :class:`ShardedImages`.

    Raises:
        BrokenImageError: names the images that are not as written or cannot be decoded.
    """
    broken = []
    for number, path in enumerate(data.paths):
        try:
            EncodedImage(path, BytesIO(data.encoded(number)), max_pixels=None).verify()
        except BrokenImageError as error:
            broken.append(str(error))
    if broken:
        raise BrokenImageError(f"{len(broken)} of {len(data)} images are bad: {broken[:5]}.")
    say(f"{len(data)} images are as written and can be decoded.")
