"""Image folders and lists with real files, broken ones among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mmvitssl.datasets import (
    EpochSampler,
    ImageFolder,
    ImageList,
    MultiView,
    SampleKey,
    collate_views,
)
from mmvitssl.datasets.images import BrokenImageError
from mmvitssl.datasets.multiview import LoadImage
from mmvitssl.registry import DATASETS

CROP = [dict(type="RandomResizedCrop", size=(16, 24)), dict(type="ColorJitter", brightness=0.4)]
PIPELINE = [
    dict(type="LoadImage"),
    dict(type="MultiView", views=[dict(transforms=CROP), dict(transforms=CROP, num=2)]),
    dict(type="PackViews"),
]


def write_images(root: Path, number: int = 12) -> Path:
    rng = np.random.default_rng(0)
    for i in range(number):
        folder = root / f"part{i % 3}" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, size=(40 + i, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.{'JPG' if i % 2 else 'png'}")
    return root


def folder(root: Path, **changes: object) -> ImageFolder:
    return DATASETS.build(dict(type="ImageFolder", root=str(root), pipeline=PIPELINE, **changes))


def test_nested_folders_in_a_fixed_order(tmp_path: Path) -> None:
    data = folder(write_images(tmp_path))
    assert len(data) == 12 and data.paths == sorted(data.paths)
    sample = data[SampleKey(3, epoch=2, seed=1)]
    assert [tuple(view.shape) for view in sample["views"]] == [(3, 16, 24)] * 3
    assert all(view.dtype == torch.uint8 for view in sample["views"])
    assert sample["sample"] == {"index": 3, "epoch": 2, "seed": 1, "path": data.paths[3]}


def test_several_folders_are_joined(tmp_path: Path) -> None:
    one, two = write_images(tmp_path / "a", 4), write_images(tmp_path / "b", 6)
    data = ImageFolder([str(one), str(two)], PIPELINE)
    assert len(data) == 10


def test_list_file(tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", 4)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*.*"))
    listing = tmp_path / "list.txt"
    listing.write_text("# a comment\n\n" + "\n".join(names) + "\n")
    data = ImageList(str(listing), PIPELINE, root=str(root))
    assert [Path(path).name for path in data.paths] == [Path(name).name for name in names]
    listing.write_text("nowhere.jpg\n")
    with pytest.raises(FileNotFoundError, match="1 of 1 images .*nowhere.jpg"):
        ImageList(str(listing), PIPELINE, root=str(root))
    listing.write_text("# nothing\n")
    with pytest.raises(FileNotFoundError, match="names no image"):
        ImageList(str(listing), PIPELINE)
    with pytest.raises(FileNotFoundError, match="no list of images"):
        ImageList(str(tmp_path / "none.txt"), PIPELINE)


def test_missing_and_empty_folders_say_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere: set the dataset's root"):
        folder(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(FileNotFoundError, match="holds no image: looked below it for .jpg"):
        folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image at all", None])
def test_unreadable_image_is_named_before_training(tmp_path: Path, content: bytes | None) -> None:
    root = write_images(tmp_path)
    bad = root / "part1" / "bad.jpg"
    bad.write_bytes(content if content is not None else b"\xff\xd8\xff\xe0 cut short")
    with pytest.raises(BrokenImageError, match="bad.jpg.*max_broken"):
        folder(root)


def test_truncated_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    root = write_images(tmp_path, 3)
    victim = sorted(root.rglob("*.JPG"))[0]
    victim.write_bytes(victim.read_bytes()[:-400])  # the header is whole
    data = folder(root)
    with pytest.raises(BrokenImageError, match=f"{victim.name} cannot be read"):
        for i in range(3):
            data[i]


def test_broken_images_within_the_budget_are_replaced_and_counted(tmp_path: Path) -> None:
    root = write_images(tmp_path, 4)
    first = sorted(root.rglob("*.*"))
    first = [path for path in first if path.is_file()]
    first[0].write_bytes(b"broken")
    data = folder(root, max_broken=1)
    replaced = data[SampleKey(0)]
    assert replaced["sample"]["path"] == str(first[1]) and data.broken == [str(first[0])]
    data[SampleKey(0, epoch=1)]  # the same file again is no further loss
    first[2].write_bytes(b"broken")
    with pytest.raises(BrokenImageError, match=first[2].name):
        data[SampleKey(2)]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 100, (100, 100, 100)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("I;16", 32896, (128, 128, 128)),
        ("1", 1, (255, 255, 255)),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path, mode: str, colour: object, expected: tuple[int, int, int]
) -> None:
    path = tmp_path / "image.tif"
    Image.new(mode, (4, 3), colour).save(path)
    image = LoadImage()({"path": str(path)})["image"]
    assert image.mode == "RGB" and image.size == (4, 3)
    assert np.abs(np.asarray(image.getpixel((1, 1))) - expected).max() <= 2


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert LoadImage()({"path": str(tmp_path / "turned.jpg")})["image"].size == (4, 8)


def epoch_batches(data: ImageFolder, epoch: int, workers: int) -> list[torch.Tensor]:
    sampler = EpochSampler(data, seed=5, rank=0, world_size=1)
    loader = DataLoader(
        data,
        batch_size=5,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=collate_views,
    )
    sampler.set_epoch(epoch)
    list(loader)  # an epoch before, so that persistent workers have a past
    return [torch.cat([view.flatten() for view in batch["views"]]) for batch in loader]


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_do_not_depend_on_the_workers(tmp_path: Path, workers: int) -> None:
    data = folder(write_images(tmp_path))
    for epoch in (0, 3):
        alone, many = epoch_batches(data, epoch, 0), epoch_batches(data, epoch, workers)
        assert len(alone) == len(many) == 3
        assert all(torch.equal(a, b) for a, b in zip(alone, many, strict=True))
    assert not torch.equal(epoch_batches(data, 0, 0)[0], epoch_batches(data, 1, 0)[0])


def test_adding_a_view_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    root = write_images(tmp_path, 2)
    views = [dict(transforms=CROP)]
    steps = [dict(type="LoadImage"), dict(type="MultiView", views=views), dict(type="PackViews")]
    single = ImageFolder(str(root), steps)[SampleKey(1, 4, 2)]["views"][0]
    several = folder(root)[SampleKey(1, 4, 2)]["views"]
    assert torch.equal(single, several[0])
    assert not torch.equal(several[0], several[1]) and not torch.equal(several[1], several[2])


def test_collating_views_of_different_sizes_is_explained() -> None:
    samples = [
        {"views": [torch.zeros(3, 4, size, dtype=torch.uint8)], "sample": {"index": 0}}
        for size in (4, 5)
    ]
    with pytest.raises(ValueError, match="View 0 has the sizes"):
        collate_views(samples)


def test_multiview_refuses_unknown_keys() -> None:
    with pytest.raises(ValueError, match="'transforms', 'num'"):
        MultiView([dict(steps=[])])
