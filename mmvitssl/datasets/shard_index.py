"""Tables of contents of tar shards (WebDataset's layout): made, read, compared with the shards."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmvitssl.datasets.images import EXTENSIONS, BrokenImageError

VERSION = 1
SEAL = "checksum"
SUFFIX = ".index.json"
END = 1024  # bytes of zeros that end a tar file
MAKE = "tools/data/make_shards.py"
MEND_INFO = f"copy it again, or run {MAKE} with the same arguments again"


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            total.update(block)
    return total.hexdigest()


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
