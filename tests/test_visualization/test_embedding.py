"""Maps of features: neighbours stay neighbours, classes have colours."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from mmvitssl.visualization import embedding
from mmvitssl.visualization.embedding import apart, choose, colours, draw_embedding, project


def test_clusters_stay_apart_and_the_seed_decides() -> None:
    centres = torch.randn(3, 16)
    labels = torch.arange(3).repeat_interleave(15)
    values = centres[labels] + 0.02 * torch.randn(45, 16)
    points = project(values, seed=1)
    assert points.shape == (45, 2)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (labels.numpy()[distance.argmin(axis=1)] == labels.numpy()).mean() > 0.95
    assert np.array_equal(points, project(values, seed=1))
    assert project(values[:3]).shape == (3, 2)


def test_a_part_of_the_data_is_drawn_in_order() -> None:
    data = TensorDataset(torch.arange(50))
    part, indices = choose(data, 10, seed=3)
    assert len(part) == 10 and len(set(indices)) == 10 and (np.diff(indices) > 0).all()
    assert [int(part[i][0]) for i in range(10)] == indices.tolist()
    assert np.array_equal(choose(data, 10, seed=3)[1], indices)
    whole, indices = choose(data, 50)
    assert whole is data and np.array_equal(indices, np.arange(50))
    with pytest.raises(ValueError, match="at least three"):
        choose(data, 2)


def test_a_method_must_be_known_and_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="'pca' is unknown; use one of tsne, umap"):
        project(torch.randn(5, 3), "pca")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"umap, which is not installed: .*mmvitssl\[umap\]"):
        embedding.check_method("umap")


@pytest.mark.parametrize("number", [3, 9, 60])
def test_umap_keeps_groups_apart(number: int) -> None:
    pytest.importorskip("umap")
    directions = 5 * torch.eye(3, 16).repeat_interleave(number // 3, dim=0)
    places = project(directions + torch.randn(number, 16).mul(0.1), "umap")
    assert places.shape == (number, 2) and np.isfinite(places).all()
    if number == 60:
        groups = places.reshape(3, 20, 2)
        middles = groups.mean(axis=1)
        within = np.linalg.norm(groups - middles[:, None], axis=-1).max()
        between = [np.linalg.norm(middles[i] - middles[j]) for i in range(3) for j in range(i)]
        assert min(between) > 2 * within


@pytest.mark.parametrize("classes", [3, 15, 40])
def test_every_class_has_a_colour_of_its_own(classes: int) -> None:
    found = colours(np.repeat(np.arange(classes) * 2, 2))
    assert list(found) == [2 * i for i in range(classes)] and len(set(found.values())) == classes


def test_thumbnails_keep_their_distance() -> None:
    points = np.random.default_rng(0).random((200, 2))
    kept = apart(points, 0.1)
    chosen = points[kept]
    distance = np.abs(chosen[:, None] - chosen[None]).max(axis=-1) + np.eye(len(kept))
    assert kept[0] == 0 and distance.min() >= 0.1 and 20 < len(kept) < 110


def test_points_have_the_colours_of_their_classes(tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((60, 2))
    labels = np.arange(60) % 3
    picture = np.full((16, 24, 3), (255, 0, 255), dtype=np.uint8)
    out = draw_embedding(
        points, labels, tmp_path / "new/map.png", "title", ("a", "b", "c"), {7: picture}
    )
    page = np.asarray(Image.open(out).convert("RGB")).astype(int)
    for colour in ((31, 119, 180), (255, 127, 14), (44, 160, 44)):
        assert (np.abs(page - colour).max(axis=2) < 45).sum() > 300
    assert (np.abs(page - (255, 0, 255)).max(axis=2) < 20).sum() > 150  # the thumbnail
    draw_embedding(points, None, out, "without labels")
    grey = np.asarray(Image.open(out).convert("RGB")).astype(int)
    assert (np.ptp(grey, axis=2) < 3).all()
