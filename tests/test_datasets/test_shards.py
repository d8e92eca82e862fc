"""Tar shards and LMDBs: every image once, and errors for what was damaged."""

from __future__ import annotations

import json
import pickle
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mmvitssl.datasets import (
    EpochSampler,
    ImageFolder,
    LabelledFolder,
    SampleKey,
    ShardedImages,
    collate_views,
)
from mmvitssl.datasets.images import BrokenImageError, ImageFiles
from mmvitssl.datasets.shard_index import index_of, read_index
from mmvitssl.datasets.shard_writer import ShardWriter, index_folder, verify_folder

PIPELINE = [
    dict(type="LoadImage"),
    dict(type="MultiView", views=[dict(transforms=[dict(type="RandomResizedCrop", size=8)])]),
    dict(type="PackViews"),
]
NUMBER = 23
KINDS = ["tar", "lmdb"]


def write_images(root: Path, number: int = NUMBER) -> Path:
    rng = np.random.default_rng(0)
    for i in range(number):
        folder = root / f"class{i % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, size=(16, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.{'jpg' if i % 2 else 'png'}")
    return root


def write(source: ImageFiles, out: Path, kind: str, **changes: Any) -> Path:
    if kind == "lmdb":
        pytest.importorskip("lmdb")
    ShardWriter(source, out, kind, shard_size=5, say=lambda text: None, **changes).run()
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_images_labels_and_classes_come_back(tmp_path: Path, kind: str) -> None:
    folder = LabelledFolder(str(write_images(tmp_path / "images")), PIPELINE)
    out = write(folder, tmp_path / "out", kind)
    data = ShardedImages(str(out), PIPELINE, labelled=True)
    assert len(data) == NUMBER and list(data.classes) == ["class0", "class1", "class2"]
    assert data.labels is not None and np.array_equal(data.labels, folder.labels)
    for number, path in enumerate(folder.paths):
        assert data.encoded(number) == Path(path).read_bytes()
    key = SampleKey(7, epoch=2, seed=3)
    sample, original = data[key], folder[key]
    assert torch.equal(sample["views"][0], original["views"][0])
    assert sample["sample"]["label"] == original["sample"]["label"] == folder.labels[7]
    assert "label" not in ShardedImages(str(out), PIPELINE, labelled=False)[key]["sample"]
    verify_folder(data, say=lambda text: None)


@pytest.mark.parametrize("kind", KINDS)
def test_unlabelled_images(tmp_path: Path, kind: str) -> None:
    folder = ImageFolder(str(write_images(tmp_path / "images")), PIPELINE)
    data = ShardedImages(str(write(folder, tmp_path / "out", kind)), PIPELINE)
    assert data.labels is None and not data.classes and len(data) == NUMBER
    with pytest.raises(ValueError, match="has no labels"):
        ShardedImages(str(tmp_path / "out"), PIPELINE, labelled=True)


@pytest.mark.parametrize("kind", KINDS)
def test_workers_and_processes_lose_nothing_and_repeat_nothing(tmp_path: Path, kind: str) -> None:
    folder = LabelledFolder(str(write_images(tmp_path / "images", 24)), PIPELINE)
    data = ShardedImages(str(write(folder, tmp_path / "out", kind)), PIPELINE)
    data[0]  # shards that are open before the workers start must do no harm
    for epoch in range(2):
        seen, values = [], {}
        for rank in range(2):
            sampler = EpochSampler(data, seed=4, rank=rank, world_size=2)
            sampler.set_epoch(epoch)
            loader = DataLoader(
                data, batch_size=4, sampler=sampler, num_workers=2, collate_fn=collate_views
            )
            for batch in loader:
                seen += batch["samples"]["index"].tolist()
                for index, label, view in zip(
                    batch["samples"]["index"].tolist(), batch["samples"]["label"].tolist(),
                    batch["views"][0], strict=True,
                ):  # fmt: skip
                    values[index] = (label, view)
        assert sorted(seen) == list(range(24))
        for index, (label, view) in values.items():
            expected = folder[SampleKey(index, epoch, 4)]
            assert torch.equal(view, expected["views"][0])
            assert label == expected["sample"]["label"]


@pytest.mark.parametrize("kind", KINDS)
def test_data_sets_travel_to_spawned_workers(tmp_path: Path, kind: str) -> None:
    folder = ImageFolder(str(write_images(tmp_path / "images", 4)), PIPELINE)
    data = ShardedImages(str(write(folder, tmp_path / "out", kind)), PIPELINE)
    data[0]
    assert pickle.loads(pickle.dumps(data)).encoded(3) == data.encoded(3)


def test_shards_are_in_the_layout_of_webdataset(tmp_path: Path) -> None:
    folder = LabelledFolder(str(write_images(tmp_path / "images")), [])
    out = write(folder, tmp_path / "out", "tar")
    shards = sorted(out.glob("*.tar"))
    assert [shard.name for shard in shards] == [f"shard-{k:06d}.tar" for k in range(5)]
    with tarfile.open(shards[1]) as archive:
        names = archive.getnames()
        assert names[:2] == ["000000005.jpg", "000000005.cls"] or names[0] == "000000005.png"
        assert len(names) == 10
        label = archive.extractfile("000000006.cls")
        assert label is not None and int(label.read()) == folder.labels[6]


def shards_of_others(root: Path) -> Path:
    root.mkdir()
    for shard in range(2):
        with tarfile.open(root / f"{shard:05d}.tar", "w") as archive:
            for number in range(3):
                stream = BytesIO()
                Image.new("RGB", (9, 9), (shard * 100, number * 50, 0)).save(stream, "PNG")
                files = {"json": b"{}", "png": stream.getvalue(), "cls": b"%d" % number}
                for extension, content in files.items():
                    member = tarfile.TarInfo(f"part/{number:05d}.{extension}")
                    member.size = len(content)
                    archive.addfile(member, BytesIO(content))
    return root


def test_shards_of_others_are_indexed(tmp_path: Path) -> None:
    root = shards_of_others(tmp_path / "others")
    with pytest.raises(FileNotFoundError, match=r"00000.tar has no index .*--index"):
        ShardedImages(str(root), PIPELINE)
    index_folder(root, say=lambda text: None)
    data = ShardedImages(str(root), PIPELINE)
    assert len(data) == 6 and data.labels is not None
    assert data.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data[4]["views"][0][:, 0, 0].tolist() == [100, 50, 0]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return write(ImageFolder(str(write_images(tmp_path / "images")), []), tmp_path / "out", "tar")


def test_truncated_shards_are_named(made: Path) -> None:
    victim = made / "shard-000002.tar"
    victim.write_bytes(victim.read_bytes()[:-1500])
    with pytest.raises(BrokenImageError, match=r"shard-000002.tar has .* bytes and not"):
        ShardedImages(str(made), PIPELINE)
    index_of(victim).unlink()
    with pytest.raises(BrokenImageError, match=r"shard-000002.tar cannot be read"):
        index_folder(made)


def test_missing_shards_and_indices_are_named(made: Path) -> None:
    index_of(made / "shard-000003.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"shard-000003.tar has no index"):
        ShardedImages(str(made), PIPELINE)
    (made / "shard-000003.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 5 shards .*shard-000003.tar"):
        ShardedImages(str(made), PIPELINE)


def test_changed_shards_are_found_by_their_sum_or_when_read(made: Path) -> None:
    victim = made / "shard-000001.tar"
    index = read_index(victim)
    content = bytearray(victim.read_bytes())
    content[index["offset"][2] + 50] ^= 255
    victim.write_bytes(content)
    data = ShardedImages(str(made), PIPELINE)
    data[6]
    with pytest.raises(BrokenImageError, match="shard-000001.tar/000000007.* is not what"):
        data[7]
    with pytest.raises(BrokenImageError, match=r"shard-000001.tar has other contents"):
        ShardedImages(str(made), PIPELINE, verify=True)
    with pytest.raises(BrokenImageError, match="1 of 23 images are bad"):
        verify_folder(data)


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"version": 9, "bytes": 1})])
def test_indices_that_are_none(made: Path, content: str) -> None:
    index_of(made / "shard-000000.tar").write_text(content)
    with pytest.raises(BrokenImageError, match=r"shard-000000.tar.index.json"):
        ShardedImages(str(made), PIPELINE)


def test_unfinished_shards_are_refused(made: Path) -> None:
    (made / "dataset.json").unlink()
    with pytest.raises(BrokenImageError, match="were not finished"):
        ShardedImages(str(made), PIPELINE)


def damaged(source: ImageFiles, out: Path, **changes: bytes | None) -> Path:
    lmdb = pytest.importorskip("lmdb")
    write(source, out, "lmdb")
    with lmdb.open(str(out)) as environment, environment.begin(write=True) as transaction:
        for key, value in changes.items():
            if value is None:
                transaction.delete(key.encode())
            else:
                transaction.put(key.encode(), value)
    return out


def test_changed_and_unfinished_databases_are_found(tmp_path: Path) -> None:
    source = ImageFolder(str(write_images(tmp_path / "images")), [])
    entries = {f"{3:012d}": b"other", f"{4:012d}": None}
    data = ShardedImages(str(damaged(source, tmp_path / "changed", **entries)), PIPELINE)
    with pytest.raises(BrokenImageError, match=r"000000003.* is not what was written"):
        data[3]
    with pytest.raises(BrokenImageError, match=r"000000004.* is missing"):
        data[4]
    with pytest.raises(BrokenImageError, match="was not finished"):
        ShardedImages(str(damaged(source, tmp_path / "unfinished", contents=None)), PIPELINE)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(BrokenImageError, match="is damaged"):
        ShardedImages(str(tmp_path / "none"), PIPELINE)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither \*.tar shards nor data.mdb"):
        ShardedImages(str(tmp_path), PIPELINE)
    with pytest.raises(FileNotFoundError, match="no .*tar shards"):
        index_folder(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_broken_images_stop_it_or_are_left_out(tmp_path: Path, kind: str) -> None:
    root = write_images(tmp_path / "images")
    victim = root / "class1" / "07.jpg"
    victim.write_bytes(victim.read_bytes()[:-300])
    source = LabelledFolder(str(root), PIPELINE, check=0)
    with pytest.raises(BrokenImageError, match=r"07.jpg cannot be read.*--max-broken"):
        write(source, tmp_path / "strict", kind)
    out = write(source, tmp_path / "out", kind, max_broken=1)
    data = ShardedImages(str(out), PIPELINE)
    kept = [path for path in source.paths if path != str(victim)]
    assert len(data) == NUMBER - 1
    assert [data.encoded(k) for k in range(len(data))] == [Path(p).read_bytes() for p in kept]
    assert json.loads((out / "dataset.json").read_text())["broken"] == [str(victim)]


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path, made: Path) -> None:
    other = ImageFolder(str(write_images(tmp_path / "more", 5)), [])
    with pytest.raises(ValueError, match="holds shards of another source"):
        write(other, made, "tar")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        write(other, tmp_path / "notes", "tar")


def test_too_little_room_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    source = ImageFolder(str(write_images(tmp_path / "images", 4)), [])
    with pytest.raises(ValueError, match="GB are free"):
        write(source, tmp_path / "out", "tar")
    assert not list((tmp_path / "out").glob("*.tar"))
