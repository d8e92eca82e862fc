"""Images that stay on the device: the pipeline's samples and pixels, a batch at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mmvitssl.datasets import (
    EpochSampler,
    LabelledFolder,
    LabelSubset,
    ResidentImages,
    SampleKey,
    collate_views,
)
from mmvitssl.engine.draws import SeededItems, seed_items
from mmvitssl.models.augment import DeviceAugment

SIDES = (24, 40)


def folder_of(place: Path, sizes: list[tuple[int, int]]) -> Path:
    """Images of two classes in turn, of the given heights and widths."""
    random = np.random.default_rng(0)
    for number, size in enumerate(sizes):
        folder = place / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return place


def data_of(place: Path, transforms: Any = (), number: int = 1) -> LabelledFolder:
    views = [dict(transforms=list(transforms), num=number)]
    pipeline = [dict(type="LoadImage", backend="opencv"), dict(type="MultiView", views=views)]
    return LabelledFolder(str(place), [*pipeline, dict(type="PackViews")])


def batches(dataset: Any, skip: int = 0, repeats: int = 1) -> list[Any]:
    sampler = EpochSampler(dataset, seed=3, repeats=repeats)
    sampler.set_epoch(2)
    sampler.skip(skip)
    loader: Any = DataLoader(dataset, 4, sampler=sampler, collate_fn=collate_views)
    return list(loader)


def assert_same(got: Any, expected: Any) -> None:
    for one, other in zip(got["views"], expected["views"], strict=True):
        assert torch.equal(one, other)
    assert list(got["samples"]) == list(expected["samples"])
    for name, value in expected["samples"].items():
        same = torch.equal if isinstance(value, torch.Tensor) else (lambda a, b: a == b)
        assert same(got["samples"][name], value), name


@pytest.mark.parametrize("skip", [0, 4])
def test_batches_are_those_of_the_pipeline(tmp_path: Path, skip: int) -> None:
    place = folder_of(tmp_path, [SIDES] * 10)
    half = LabelSubset(data_of(place), fraction=0.6)
    kept = ResidentImages(half, num_views=2)
    expected = batches(LabelSubset(data_of(place, number=2), fraction=0.6), skip)
    got = batches(kept, skip)
    assert len(got) == len(expected) > 0
    for one, other in zip(got, expected, strict=True):
        assert_same(one, other)
    assert kept.images.dtype == torch.uint8 and kept.images.shape == (6, 3, *SIDES)
    single = collate_views([kept[SampleKey(2, epoch=1)]])
    assert_same(single, collate_views([data_like(half)[SampleKey(2, epoch=1)]]))
    assert kept.classes == ["class0", "class1"]
    before = kept[0]["sample"]["label"]
    kept.use_classes(["class1", "class0"])
    assert kept[0]["sample"]["label"] == 1 - before


def data_like(half: LabelSubset) -> LabelSubset:
    """The subset with two views."""
    root = Path(half.paths[0]).parents[1]
    return LabelSubset(data_of(root, number=2), fraction=0.6)


def test_drawings_of_an_image_differ(tmp_path: Path) -> None:
    kept = ResidentImages(data_of(folder_of(tmp_path, [SIDES] * 8)))
    crop = dict(type="RandomResizedCrop", size=16)
    augment = DeviceAugment([dict(transforms=[crop])])
    batch, _ = batches(kept, repeats=2)
    rows = batch["samples"]["index"]
    assert rows[0] == rows[1] and batch["samples"]["seed"][0] != batch["samples"]["seed"][1]
    (crops,) = augment(batch["views"], batch["samples"])
    assert not torch.equal(crops[0], crops[1])
    # the pipeline's keys too
    seeds = [batch["samples"]["seed"] for batch in batches(data_of(tmp_path), repeats=2)]
    assert torch.equal(seeds[0], batch["samples"]["seed"])


def test_what_cannot_be_kept_is_named(tmp_path: Path) -> None:
    place = folder_of(tmp_path / "some", [SIDES, SIDES, (30, 40)])
    with pytest.raises(ValueError, match=r"01.png has 24x40 pixels|00.png has 24x40 .* 30x40"):
        ResidentImages(data_of(place))
    cut = [dict(type="Resize", size=24), dict(type="CenterCrop", size=24)]
    assert ResidentImages(data_of(place, cut)).images.shape == (3, 3, 24, 24)
    with pytest.raises(ValueError, match="augments its images at random"):
        ResidentImages(data_of(place, [*cut, dict(type="RandomFlip")]))
    with pytest.raises(ValueError, match="makes 2, and num_views=2"):
        ResidentImages(data_of(place, cut, number=2), num_views=2)
    loader: Any = DataLoader(
        ResidentImages(data_of(place, cut)), 2, num_workers=1, collate_fn=collate_views
    )
    with pytest.raises(ValueError, match="num_workers=0"):
        next(iter(loader))


def test_the_training_loop_leaves_whole_batches(tmp_path: Path) -> None:
    """It lets other data sets draw image by image."""
    kept = ResidentImages(data_of(folder_of(tmp_path, [SIDES] * 4)))
    loader: Any = DataLoader(kept, 2, sampler=EpochSampler(kept, seed=3), collate_fn=collate_views)
    before = next(iter(loader))
    seed_items(loader)
    assert_same(next(iter(loader)), before)
    other: Any = DataLoader(data_of(tmp_path), 2)
    seed_items(other)
    assert isinstance(other.dataset.__getitems__, SeededItems)
