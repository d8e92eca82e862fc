"""Images in one file."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from demo.photographs import read_photograph
from mmvitssl.datasets import PackedImages
from mmvitssl.datasets.images import BrokenImageError

PIPELINE = [
    dict(type="LoadImage"),
    dict(type="MultiView", views=[dict(transforms=[dict(type="CenterCrop", size=32)])]),
    dict(type="PackViews"),
]


def pack(path: Path, number: int = 5, spoil: int | None = None) -> Path:
    files = []
    for i in range(number):
        stream = BytesIO()
        Image.fromarray(read_photograph("chelsea")[i * 8 : i * 8 + 40, :48]).save(stream, "PNG")
        data = stream.getvalue()
        files.append(np.frombuffer(data[:40] if i == spoil else data, dtype=np.uint8))
    offset = np.concatenate([[0], np.cumsum([len(file) for file in files])])
    np.savez(path, jpeg=np.concatenate(files), offset=offset, label=np.arange(number) % 3,
             classes=np.array(["a", "b", "c"]))  # fmt: skip
    return path


def test_images_and_labels_come_back(tmp_path: Path) -> None:
    data = PackedImages(str(pack(tmp_path / "x.npz")), PIPELINE)
    assert len(data) == 5 and data.labels.tolist() == [0, 1, 2, 0, 1] and data.classes == [*"abc"]
    sample = data[3]
    cut = read_photograph("chelsea")[24 + 4 : 24 + 36, 8:40]
    assert torch.equal(sample["views"][0], torch.from_numpy(cut.copy()).permute(2, 0, 1))
    assert sample["sample"]["path"].endswith("x.npz#3")


def test_a_part_of_them(tmp_path: Path) -> None:
    path = str(pack(tmp_path / "x.npz"))
    part = PackedImages(path, PIPELINE, indices=(1, 4))
    assert len(part) == 3 and part.labels.tolist() == [1, 2, 0]
    whole = PackedImages(path, PIPELINE)
    assert torch.equal(part[0]["views"][0], whole[1]["views"][0])
    with pytest.raises(ValueError, match="has 5 images"):
        PackedImages(path, PIPELINE, indices=(0, 6))


def test_broken_images_are_named_and_counted(tmp_path: Path) -> None:
    path = str(pack(tmp_path / "x.npz", spoil=2))
    with pytest.raises(BrokenImageError, match="x.npz#2"):
        PackedImages(path, PIPELINE)[2]
    lenient = PackedImages(path, PIPELINE, max_broken=1)
    assert torch.equal(lenient[2]["views"][0], lenient[3]["views"][0])


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="packed images"):
        PackedImages(str(tmp_path / "none.npz"), PIPELINE)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(BrokenImageError, match=r"no \.npz file"):
        PackedImages(str(tmp_path / "text.npz"), PIPELINE)
    np.savez(tmp_path / "other.npz", jpeg=np.zeros(3))
    with pytest.raises(BrokenImageError, match="no array offset"):
        PackedImages(str(tmp_path / "other.npz"), PIPELINE)


def test_every_so_many_th(tmp_path: Path) -> None:
    path = str(pack(tmp_path / "x.npz"))
    thin, whole = PackedImages(path, PIPELINE, stride=2), PackedImages(path, PIPELINE)
    assert len(thin) == 3 and thin.labels.tolist() == [0, 2, 1]
    for number in range(3):
        assert torch.equal(thin[number]["views"][0], whole[2 * number]["views"][0])
        assert thin[number]["sample"]["path"] == whole[2 * number]["sample"]["path"]
    with pytest.raises(ValueError, match="stride"):
        PackedImages(path, PIPELINE, stride=0)
