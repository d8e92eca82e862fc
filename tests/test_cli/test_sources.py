"""Folders, archives and lists of images, and what is broken in them."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mmvitssl.apis.sources import class_folders, dataset_config, look
from mmvitssl.datasets import ImageArchive, collate_views
from mmvitssl.datasets.files import BrokenImageError
from mmvitssl.registry import DATASETS

PIPELINE: list[dict[str, Any]] = [
    dict(type="LoadImage"),
    dict(type="MultiView", views=[dict(transforms=[dict(type="Resize", size=(8, 8))])]),
    dict(type="PackViews"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images in two nested folders, a hidden one, and a text file."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for number in range(6):
        path = root / "ab"[number % 2] / "deep" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30 + number, 3), dtype=np.uint8)).save(path)
    Image.new("L", (40, 40)).save(root / "a" / "grey.jpg")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "hidden.jpg").write_bytes(b"no image")
    (root / "notes.md").write_text("no image")
    return root


def archive(folder: Path, kind: str) -> Path:
    return Path(
        shutil.make_archive(str(folder.parent / "packed"), kind, folder.parent, folder.name)
    )


def pixels(config: dict[str, Any], workers: int = 0) -> torch.Tensor:
    loader = DataLoader(
        DATASETS.build(config), batch_size=100, num_workers=workers, collate_fn=collate_views
    )
    return next(iter(loader))["views"][0]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_give_the_images_of_the_folder(
    folder: Path, tmp_path: Path, kind: str, workers: int
) -> None:
    whole, packed = look(folder), look(archive(folder, kind))
    assert packed.kind == f"{kind} file" and len(packed.names) == len(whole.names) == 7
    assert packed.modes == whole.modes == {"RGB": 6, "L": 1}
    assert sorted(packed.widths) == sorted(whole.widths) and packed.checked
    expected = pixels(dataset_config(whole, tmp_path, PIPELINE))
    assert torch.equal(pixels(dataset_config(packed, tmp_path, PIPELINE), workers), expected)


def test_a_list_names_files_from_here_or_from_its_folder(folder: Path, tmp_path: Path) -> None:
    listed = folder / "some.txt"
    listed.write_text("# a comment\na/deep/0.png\n\nb/deep/1.png\n")
    source = look(listed)
    assert source.kind == "list" and len(source.names) == 2
    assert pixels(dataset_config(source, tmp_path, PIPELINE)).shape == (2, 3, 8, 8)


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_broken_images_are_named_and_left_out(folder: Path, tmp_path: Path, kind: str) -> None:
    (folder / "a" / "empty.jpg").write_bytes(b"")
    cut = folder / "a" / "deep" / "0.png"
    cut.write_bytes(cut.read_bytes()[:-300])  # its header is whole
    source = look(folder if kind == "folder" else archive(folder, kind))
    assert {Path(name).name for name in source.broken} == {"empty.jpg", "0.png"}
    assert "2 cannot be read and are left out" in source.lines()[-1]
    config = dataset_config(source, tmp_path / "out", PIPELINE)
    assert "max_broken" not in config
    assert len(pixels(config)) == 6


def test_of_many_images_some_are_looked_at_and_a_few_may_be_broken(folder: Path) -> None:
    source = look(folder, most_headers=3, most_decoded=2)
    assert source.looked_at < len(source.names) and not source.checked
    assert "looked at" in source.lines()[1]
    assert dataset_config(source, folder, PIPELINE)["max_broken"] == 1


def test_what_holds_no_images_is_refused_in_words(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w") as content:
        content.writestr("readme.txt", "no image")
    packed = archive(folder, "gztar")
    cut = archive(folder, "tar")
    cut.write_bytes(cut.read_bytes()[:3000])
    text = tmp_path / "notes.md"
    text.write_text("no archive")
    for path, words in (
        (tmp_path / "nowhere", "There is nothing at .*nowhere"),
        (empty, "holds no image"),
        (packed, "compressed.*tar xf"),
        (cut, "ends within|cannot be read|no zip and no tar"),
        (text, "no zip and no tar file"),
    ):
        with pytest.raises((FileNotFoundError, BrokenImageError), match=words):
            look(path)
    for name in folder.rglob("*.*g"):
        name.write_bytes(b"broken")
    with pytest.raises(BrokenImageError, match="None of the 7 images"):
        look(folder)


def test_an_archive_that_changed_is_noticed(folder: Path) -> None:
    file = archive(folder, "tar")
    with pytest.raises(ValueError, match=r"skip names gone\.png"):
        ImageArchive(str(file), PIPELINE, skip=["gone.png"])
    with tarfile.open(file, "a") as content:
        bad = folder / "bad.png"
        bad.write_bytes(b"bad")
        content.add(bad, "images/bad.png")
    with pytest.raises(BrokenImageError, match=r"images/bad\.png .*skip"):
        ImageArchive(str(file), PIPELINE)


@pytest.mark.parametrize("broken", [False, True])
def test_class_folders_become_labels(folder: Path, tmp_path: Path, broken: bool) -> None:
    if broken:
        (folder / "a" / "empty.jpg").write_bytes(b"")
    source = look(folder)
    assert "2 class folders" in source.lines()[2]
    dataset = DATASETS.build(dataset_config(source, tmp_path / "out", PIPELINE))
    names = [Path(path).relative_to(folder).parts[0] for path in dataset.paths]
    assert [dataset.classes[label] for label in dataset.labels] == names
    assert len(names) == 7 and set(names) == {"a", "b"}


def test_class_folders_are_seen(folder: Path) -> None:
    assert class_folders(look(folder)) == ["a", "b"]
    Image.new("RGB", (9, 9)).save(folder / "beside.png")
    assert class_folders(look(folder)) == []
