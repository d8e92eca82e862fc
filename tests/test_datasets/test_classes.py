"""One list of classes for all data sets that share labels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from mmvitssl.datasets import CachedFeatures, ImageList, LabelledFolder, LabelSubset
from mmvitssl.datasets.classes import common_files, renumbered, share_classes
from mmvitssl.evaluation import probes
from mmvitssl.evaluation.probes import FeatureProbe
from mmvitssl.registry import MODELS

PIPELINE: list[dict[str, Any]] = [
    dict(type="LoadImage"),
    dict(type="MultiView", views=[dict(transforms=[dict(type="Resize", size=(8, 8))])]),
    dict(type="PackViews"),
]
COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def write(root: Path, names: str, number: int = 3) -> str:
    rng = np.random.default_rng(number)
    for name in names.split():
        (root / name).mkdir(parents=True)
        for i in range(number):
            noise = rng.integers(-9, 9, (8, 8, 3))
            pixels = (np.array(COLOURS[name]) * 0.5 + 64 + noise).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return str(root)


def encoder() -> nn.Module:
    torch.manual_seed(0)
    arch = dict(embed_dim=24, depth=1, num_heads=2)
    return MODELS.build(dict(type="ViT", arch=arch, image_size=8, patch_size=4))


def accuracy(bank: Any, queries: Any) -> float:
    probe = FeatureProbe(encoder(), bank, queries, readout="mean", neighbours=(1,))
    return probe.accuracies()["knn_1"]


@given(st.permutations(range(5)), st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_renumbering_keeps_names(order: list[int], labels: list[int]) -> None:
    names = [f"n{number}" for number in range(5)]
    wanted = [names[number] for number in order]
    new = renumbered(np.array(labels), names, wanted)
    assert [wanted[label] for label in new] == [names[label] for label in labels]


@pytest.mark.parametrize("wrapper", ["none", "subset", "cached"])
def test_queries_are_numbered_by_the_names_of_the_bank(wrapper: str, tmp_path: Path) -> None:
    root, other = (
        write(tmp_path / "a", "blue green red"),
        write(tmp_path / "b", "blue green red", 2),
    )
    bank = LabelledFolder(root, PIPELINE)
    queries: Any = LabelledFolder(other, PIPELINE, classes=["red", "blue", "green"])
    if wrapper == "subset":
        queries = LabelSubset(queries, fraction=0.5)
    if wrapper == "cached":
        queries = CachedFeatures(queries)
    assert accuracy(bank, queries) == 1.0
    assert list(queries.classes) == ["blue", "green", "red"]
    assert queries.metainfo == {"classes": ("blue", "green", "red")}
    sample = queries[0]["sample"]
    assert f"/{bank.classes[sample['label']]}/" in sample["path"]


def test_unknown_and_missing_classes_are_named(tmp_path: Path) -> None:
    root, other = write(tmp_path / "a", "blue green"), write(tmp_path / "b", "green red")
    bank, queries = LabelledFolder(root, PIPELINE), LabelledFolder(other, PIPELINE)
    with pytest.raises(ValueError, match=r"1 that bank has not \(red\).*1 that bank has \(blue\)"):
        FeatureProbe(encoder(), bank, queries)
    chosen = [LabelledFolder(path, PIPELINE, classes=["green"]) for path in (root, other)]
    assert accuracy(*chosen) == 1.0
    twice = SimpleNamespace(classes=["a", "a"], labels=np.array([0, 1]))
    with pytest.raises(ValueError, match="val has several classes of one name: a"):
        share_classes({"train": bank, "val": twice})


def test_labels_without_names_must_be_those_of_the_other(tmp_path: Path) -> None:
    root = Path(write(tmp_path / "a", "blue green"))
    lists = {}
    for name, second in (("same", 1), ("other", 7)):
        lines = [f"blue/{i}.png 0\ngreen/{i}.png {second}\n" for i in range(3)]
        (tmp_path / f"{name}.txt").write_text("".join(lines))
        lists[name] = ImageList(str(tmp_path / f"{name}.txt"), PIPELINE, str(root), labelled=True)
    named = LabelledFolder(str(root), PIPELINE)
    for first in (named, lists["same"]):
        share_classes({"train": first, "val": lists["same"]})
        with pytest.raises(ValueError, match="val has labels that train has not: 7"):
            share_classes({"train": first, "val": lists["other"]})


def test_images_in_bank_and_queries_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(probes, "print_log", lambda message, **_: logged.append(message))
    root, other = write(tmp_path / "a", "blue green"), write(tmp_path / "b", "blue green")
    (tmp_path / "link").symlink_to(root)
    bank = LabelledFolder(root, PIPELINE)
    FeatureProbe(encoder(), bank, LabelledFolder(other, PIPELINE))
    assert logged == []
    FeatureProbe(encoder(), bank, LabelledFolder(str(tmp_path / "link"), PIPELINE))
    assert "6 of the image files in queries are in bank too" in logged[0]
    assert len(common_files(bank, bank)) == 6


def test_images_that_the_encoder_cannot_read_are_found_when_built(tmp_path: Path) -> None:
    load = dict(type="LoadImage", channels=1)
    grey = LabelledFolder(write(tmp_path / "a", "blue green"), [load, *PIPELINE[1:]])
    with pytest.raises(ValueError, match="bank: ViT reads images of 3 channels and got 1"):
        FeatureProbe(encoder(), grey, grey)
