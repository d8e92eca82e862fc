"""Labelled folders and lists, shares of the labels, RandAugment, features in place of images."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmvitssl.datasets import (
    CachedFeatures,
    ImageFolder,
    ImageList,
    LabelledFolder,
    LabelSubset,
    RandAugment,
    SampleKey,
    collate_views,
)
from mmvitssl.datasets.labelled import balanced_subset
from mmvitssl.datasets.transforms import CenterCrop, RandomFlip, Resize

FIXED = [dict(type="Resize", size=8), dict(type="CenterCrop", size=8)]


def pipeline(transforms: list[Any]) -> list[dict[str, Any]]:
    views = [dict(transforms=transforms)]
    return [dict(type="LoadImage"), dict(type="MultiView", views=views), dict(type="PackViews")]


PIPELINE = pipeline(FIXED)


def write_image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((12, 10, 3), value + 10, np.uint8)
    pixels[:, :5] //= 2
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten cats, in two sub-folders, and four dogs; the value of a pixel names the image."""
    root = tmp_path / "data"
    for number in range(10):
        write_image(root / "cat" / f"{number % 2}" / f"c{number}.png", 10 * number)
    for number in range(4):
        write_image(root / "dog" / f"d{number}.png", 200 + 10 * number)
    (root / "readme.txt").write_text("no image")
    return root


def test_a_folder_a_class(folder: Path) -> None:
    dataset = LabelledFolder(str(folder), PIPELINE)
    assert dataset.classes == ["cat", "dog"] and dataset.metainfo == {"classes": ("cat", "dog")}
    assert dataset.labels.tolist() == [0] * 10 + [1] * 4
    assert all(f"/{dataset.classes[y]}/" in p
               for p, y in zip(dataset.paths, dataset.labels, strict=True))  # fmt: skip
    batch = collate_views([dataset[1], dataset[12]])
    assert batch["samples"]["label"].tolist() == [0, 1]
    assert batch["samples"]["label"].dtype == torch.long
    turned = LabelledFolder(str(folder), PIPELINE, classes=["dog", "cat"])
    assert turned.labels.tolist() == [0] * 4 + [1] * 10
    assert LabelledFolder(str(folder), PIPELINE, classes=["dog"]).labels.tolist() == [0] * 4


def test_the_label_follows_a_replaced_image(folder: Path) -> None:
    dataset = LabelledFolder(str(folder), PIPELINE, max_broken=1)
    last_cat = Path(dataset.paths[9])
    last_cat.write_bytes(b"broken")
    sample = dataset[9]["sample"]
    assert sample["label"] == 1 and sample["path"] == dataset.paths[10]


def test_wrong_folders_are_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere.*dataset's root"):
        LabelledFolder(str(tmp_path / "nowhere"), PIPELINE)
    with pytest.raises(FileNotFoundError, match="no folder for cow"):
        LabelledFolder(str(folder), PIPELINE, classes=["cat", "cow"])
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty holds no image"):
        LabelledFolder(str(folder), PIPELINE)
    (folder / "empty").rmdir()
    write_image(folder / "loose.png", 1)
    with pytest.raises(ValueError, match="no class folder, such as loose.png"):
        LabelledFolder(str(folder), PIPELINE)
    (tmp_path / "flat").mkdir()
    with pytest.raises(FileNotFoundError, match="any class"):
        LabelledFolder(str(tmp_path / "flat"), PIPELINE)


def test_lists_may_have_labels(folder: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    write_image(folder / "dog" / "a dog.png", 7)
    names.write_text("# comment\ncat/0/c0.png 3\n\ndog/a dog.png\t0\n")
    dataset = ImageList(str(names), PIPELINE, root=str(folder), labelled=True)
    assert dataset.labels.tolist() == [3, 0] and dataset.paths[1].endswith("dog/a dog.png")
    assert dataset[0]["sample"]["label"] == 3
    assert dataset.metainfo == {}
    for line in ("cat/0/c0.png", "cat/0/c0.png dog", "cat/0/c0.png -1"):
        names.write_text(f"dog/d0.png 1\n{line}\n")
        with pytest.raises(ValueError, match=f"line '{line}' of .*names.txt has no label"):
            ImageList(str(names), PIPELINE, root=str(folder), labelled=True)
    names.write_text("cat/0/c0.png\n")
    assert ImageList(str(names), PIPELINE, root=str(folder)).labels is None
    assert "label" not in ImageList(str(names), PIPELINE, root=str(folder))[0]["sample"]


@settings(max_examples=50, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80).map(np.array),
    fraction=st.floats(0.01, 1.0),
    seed=st.integers(0, 99),
)
def test_subsets_are_balanced_seeded_and_nested(
    labels: np.ndarray, fraction: float, seed: int
) -> None:
    chosen = balanced_subset(labels, fraction, seed)
    assert np.array_equal(chosen, balanced_subset(labels, fraction, seed))
    assert len(np.unique(chosen)) == len(chosen) and (np.diff(chosen) > 0).all()
    for label in np.unique(labels):
        number = int((labels == label).sum())
        assert (labels[chosen] == label).sum() == max(1, round(fraction * number))
    assert set(balanced_subset(labels, fraction / 2, seed)) <= set(chosen)


def test_seeds_choose_other_images() -> None:
    labels = np.zeros(100, int)
    first, second = (set(balanced_subset(labels, 0.1, seed).tolist()) for seed in (0, 1))
    assert first != second


def test_a_subset_is_a_data_set(folder: Path) -> None:
    config = dict(type="LabelledFolder", root=str(folder), pipeline=PIPELINE)
    subset = LabelSubset(config, fraction=0.5)
    whole = LabelledFolder(str(folder), PIPELINE)
    assert len(subset) == 7 and subset.labels.tolist() == [0] * 5 + [1] * 2
    assert subset.classes == whole.classes and subset.metainfo == whole.metainfo
    for place, index in enumerate(subset.indices):
        key = SampleKey(place, epoch=3, seed=5)
        sample, original = subset[key], whole[SampleKey(int(index), 3, 5)]
        assert torch.equal(sample["views"][0], original["views"][0])
        assert sample["sample"] == {**original["sample"], "index": place}
        assert subset.paths[place] == original["sample"]["path"]


def test_a_list_may_choose_the_subset(folder: Path, tmp_path: Path) -> None:
    whole = LabelledFolder(str(folder), PIPELINE)
    names = tmp_path / "few.txt"
    names.write_text("d1.png\n1/c3.png\ncat/0/c4.png\n")
    subset = LabelSubset(whole, ann_file=str(names))
    assert [Path(path).name for path in subset.paths] == ["d1.png", "c3.png", "c4.png"]
    assert subset.labels.tolist() == [1, 0, 0]
    names.write_text("d1.png\nnothing.png\n")
    with pytest.raises(ValueError, match="1 of 2 lines .*few.txt.*nothing.png"):
        LabelSubset(whole, ann_file=str(names))
    write_image(folder / "cat" / "d1.png", 3)
    names.write_text("d1.png\n")
    with pytest.raises(ValueError, match="or several, such as d1.png"):
        LabelSubset(LabelledFolder(str(folder), PIPELINE), ann_file=str(names))


def test_subsets_that_cannot_be(folder: Path) -> None:
    whole = LabelledFolder(str(folder), PIPELINE)
    with pytest.raises(ValueError, match="ImageFolder has no labels"):
        LabelSubset(ImageFolder(str(folder), PIPELINE), fraction=0.5)
    for settings_ in ({}, {"fraction": 0.5, "ann_file": "x"}):
        with pytest.raises(ValueError, match="either fraction or ann_file"):
            LabelSubset(whole, **settings_)
    for fraction in (0.0, 1.5):
        with pytest.raises(ValueError, match=r"must lie in \(0, 1\]"):
            LabelSubset(whole, fraction=fraction)
    with pytest.raises(FileNotFoundError, match="no list"):
        LabelSubset(whole, ann_file="/nowhere.txt")


def test_randaugment_depends_on_its_generator_alone() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8))
    augment = RandAugment(size=32)
    random.seed(1)
    np.random.seed(1)
    state = random.getstate(), np.random.get_state()[1].copy()
    first = [np.asarray(augment(image, np.random.default_rng(seed))) for seed in range(12)]
    assert random.getstate() == state[0] and np.array_equal(np.random.get_state()[1], state[1])
    random.seed(2)
    again = [np.asarray(augment(image, np.random.default_rng(seed))) for seed in range(12)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    changed = sum(not np.array_equal(a, np.asarray(image)) for a in first)
    assert changed >= 6  # each of two operations is left out half the time
    assert all(a.shape == (32, 32, 3) for a in first)
    arrays = [augment(np.asarray(image), np.random.default_rng(seed)) for seed in range(12)]
    assert all(np.array_equal(a, b) for a, b in zip(first, arrays, strict=True))
    with pytest.raises(ValueError, match="policy='auto-m9'"):
        RandAugment("auto-m9", size=32)


def test_features_stand_in_for_images(folder: Path) -> None:
    cached = CachedFeatures(dict(type="LabelledFolder", root=str(folder), pipeline=PIPELINE))
    assert torch.equal(cached[3]["views"][0], cached.dataset[3]["views"][0])  # not filled yet
    cached.check_fixed()
    cached.values = torch.arange(14.0)[:, None].expand(14, 3)
    batch = collate_views([cached[SampleKey(2, 7)], cached[13]])
    assert batch["features"].tolist() == [[2.0] * 3, [13.0] * 3]
    assert batch["samples"]["label"].tolist() == [0, 1]
    assert batch["samples"]["epoch"].tolist() == [7, 0]
    assert batch["samples"]["path"] == [cached.paths[2], cached.paths[13]]


def test_augmented_images_are_not_cached(folder: Path) -> None:
    flips = pipeline([Resize((8, 8)), RandomFlip(), CenterCrop(8)])
    with pytest.raises(ValueError, match="augments its images at random"):
        CachedFeatures(LabelledFolder(str(folder), flips)).check_fixed()
    with pytest.raises(ValueError, match="must end in .npy"):
        CachedFeatures(LabelledFolder(str(folder), PIPELINE), file="features.pt")
