"""Damaged tables of contents and disks that fail for a moment."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmvitssl.datasets import ImageFolder, PackedImages, ShardedImages, files
from mmvitssl.datasets.images import BrokenImageError
from mmvitssl.datasets.shard_index import index_of
from tests.test_checkpoint.mutations import OF_BYTES
from tests.test_datasets.test_shards import NUMBER, PIPELINE, write, write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageFolder:
    return ImageFolder(str(write_images(tmp_path_factory.mktemp("images"))), PIPELINE)


def pack(source: ImageFolder, path: Path) -> Path:
    parts = [Path(name).read_bytes() for name in source.paths]
    offset = np.cumsum([0, *map(len, parts)])
    np.savez(path, jpeg=np.frombuffer(b"".join(parts), np.uint8), offset=offset)
    return path


@pytest.mark.parametrize("name", ["dataset.json", "index", "npz"])
def test_a_damaged_table_is_named_or_changes_nothing(
    images: ImageFolder, tmp_path: Path, name: str
) -> None:
    expected = [Path(path).read_bytes() for path in images.paths]
    if name == "npz":
        root = file = pack(images, tmp_path / "images.npz")
        read: Any = lambda: PackedImages(str(root), PIPELINE)  # noqa: E731
    else:
        root = write(images, tmp_path / "out", "tar")
        file = root / name if name == "dataset.json" else index_of(min(root.glob("*.tar")))
        read = lambda: ShardedImages(str(root), PIPELINE)  # noqa: E731
    original, refused = file.read_bytes(), 0
    for seed in range(120):
        draw = random.Random(seed)
        data = bytearray(original)
        draw.choice(OF_BYTES)(data, draw)
        file.write_bytes(data)
        try:
            found = read()
            same = [bytes(found.encoded(number)) for number in range(len(found))]
        except (BrokenImageError, FileNotFoundError) as error:
            assert str(tmp_path) in str(error), seed
            refused += 1
            continue
        assert name == "npz" or same == expected, seed
    assert refused


@pytest.mark.parametrize(
    ("key", "value"),
    [("offset", [0]), ("crc32", "x"), ("size", None), ("name", 3), ("label", [-1] * 5)],
)
def test_columns_of_an_index(images: ImageFolder, tmp_path: Path, key: str, value: Any) -> None:
    root = write(images, tmp_path / "out", "tar")
    path = index_of(min(root.glob("*.tar")))
    index = json.loads(path.read_text())
    changed = {**index, "label": [0] * len(index["name"])}
    path.write_text(json.dumps(changed))
    with pytest.raises(BrokenImageError, match=r"its checksum differs"):
        ShardedImages(str(root), PIPELINE)
    del index["checksum"]  # as older files
    path.write_text(json.dumps({**index, key: value}))
    with pytest.raises(BrokenImageError, match=rf"{path.name}.*'{key}'"):
        ShardedImages(str(root), PIPELINE)


def test_a_truncated_lmdb_is_an_error_and_no_signal(images: ImageFolder, tmp_path: Path) -> None:
    root = write(images, tmp_path / "out", "lmdb")
    size = (root / "data.mdb").stat().st_size
    program = (
        "import sys; from mmvitssl.datasets import ShardedImages\n"
        f"data = ShardedImages({str(root)!r}, [])\n"
        "[data.encoded(number) for number in range(len(data))]"
    )
    for kept in (size * 3 // 4, size // 2, 3 * 4096):
        os.truncate(root / "data.mdb", kept)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.returncode == 1 and "BrokenImageError" in done.stderr, done.stderr[-2000:]
        assert "is truncated" in done.stderr


FUZZ = """
import os, random, sys
from pathlib import Path
from mmvitssl.datasets import ShardedImages
from mmvitssl.datasets.images import BrokenImageError
root, seed, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
file = Path(root, 'data.mdb')
whole, rng = file.read_bytes(), random.Random(seed)
expected = [ShardedImages(root, []).encoded(i) for i in range({images})]
for case in range(number):
    data = bytearray(whole)
    pages = [0, 1, *range(2, len(whole) // 4096)]
    for _ in range(rng.choice([1, 1, 8])):
        start = rng.choice(pages) * 4096  # most damage hits the heads of pages, and their tables
        data[start + rng.randrange(rng.choice([16, 64, 256, 4096]))] = rng.randrange(256)
    file.write_bytes(data)
    child = os.fork()
    if not child:
        try:
            found = ShardedImages(root, [])
            wrong = len(found) != {images} or any(
                found.encoded(i) != expected[i] for i in range(len(found)))
            os._exit(3 if wrong else 0)
        except BrokenImageError:
            os._exit(1)
        except BaseException as error:
            print(case, repr(error)[:300])
            os._exit(4)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, 1):
        print('case', case, 'ended with', status)
print('done')
"""


@pytest.mark.parametrize(
    ("seed", "number"), [(0, 60), pytest.param(1, 500, marks=pytest.mark.long)]
)
def test_damage_inside_an_lmdb_is_an_error_and_no_signal(
    images: ImageFolder, tmp_path: Path, seed: int, number: int
) -> None:
    root = write(images, tmp_path / "out", "lmdb")
    program = FUZZ.replace("{images}", str(len(images)))
    command = [sys.executable, "-c", program, str(root), str(seed), str(number)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.stdout == "done\n", done.stdout + done.stderr[-2000:]


def test_a_disk_that_fails_for_a_moment_is_read_again(
    images: ImageFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, failures, waits = images.paths[0], [errno.EIO, errno.ESTALE], []
    read, expected = Path.read_bytes, Path(images.paths[0]).read_bytes()

    def failing(self: Path) -> bytes:
        if failures:
            raise OSError(failures.pop(0), "for a moment")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", failing)
    monkeypatch.setattr(files.time, "sleep", waits.append)
    assert files.read_file(path) == expected and waits == list(files.WAITS[:2])
    failures += [errno.EIO] * 9
    with pytest.raises(OSError, match="for a moment"):
        files.read_file(path)
    assert waits == [*files.WAITS[:2], *files.WAITS] and len(images) == NUMBER
