"""The calls of a notebook: load, embed, reconstruct, list_models."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmvitssl import apis
from mmvitssl.apis.embedding import ImageModel
from mmvitssl.checkpoint import CheckpointError
from mmvitssl.cli import embed as embed_program
from mmvitssl.datasets.files import BrokenImageError
from mmvitssl.engine.launch import UserError
from mmvitssl.registry import MODELS
from tests.test_cli.test_pretrain import make_images

PRETRAINER: dict[str, Any] = dict(
    type="Pretrainer",
    encoder=dict(
        type="ViT", arch=dict(embed_dim=32, depth=2, num_heads=2), image_size=32, patch_size=8,
        position="sincos_column_first",
    ),
    tasks=dict(
        masked=dict(
            type="MaskedModeling",
            masking=dict(type="RandomMasking", ratio=0.5, mode="drop"),
            neck=dict(
                type="MAEDecoder", in_channels=32, out_channels=192, width=32, depth=1,
                num_heads=2, grid=4,
            ),
            target=dict(type="PixelTarget", patch_size=8, normalise=True),
            head=dict(type="PixelLoss", distance="l2"),
        )
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("apis") / "images", 6)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a pretraining writes it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "last.pth"
    state = MODELS.build(dict(PRETRAINER, type="mmvitssl.Pretrainer")).state_dict()
    text = Config(dict(model=PRETRAINER)).pretty_text
    torch.save({"meta": {"cfg": text}, "state_dict": state}, path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> ImageModel:
    return apis.load(checkpoint)


def test_an_image_has_the_same_features_however_it_comes(model: ImageModel, images: Path) -> None:
    path = sorted(images.rglob("*.jpg"))[0]
    picture = Image.open(path)
    expected = model(path)
    assert expected.shape == (1, 32) and not expected.requires_grad and not model.training
    array = np.asarray(picture)
    ways = [picture, array, str(path), [path], [picture], [array], model.transform(path)[None]]
    for way in ways:
        torch.testing.assert_close(model(way), expected)
    assert model([path, picture]).shape == (2, 32)
    torch.testing.assert_close(model(images)[0], expected[0])
    assert model(picture.convert("RGBA")).shape == (1, 32)
    assert model(array[..., 0]).shape == (1, 32)


def test_wrong_arrays_are_refused_in_words(model: ImageModel) -> None:
    with pytest.raises(TypeError, match="array of uint8, not ndarray float64"):
        model(np.zeros((32, 32, 3)))
    with pytest.raises(ValueError, match=r"array has\s+5: it must be \(H, W, 3\)"):
        model(np.zeros((32, 32, 5), dtype=np.uint8))


def test_broken_images_are_named_and_have_no_vector(model: ImageModel, tmp_path: Path) -> None:
    folder = make_images(tmp_path / "some", 3, ())
    (folder / "1.jpg").write_bytes(b"no image")
    found = apis.embed(folder, model)
    assert [Path(name).name for name in found.names] == ["0.jpg", "2.jpg"]
    assert [Path(name).name for name in found.broken] == ["1.jpg"] and len(found.values) == 2
    with pytest.raises(BrokenImageError, match=r"1\.jpg"):
        model(folder)
    for path in folder.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(BrokenImageError, match="None of the 3 images"):
        apis.embed(folder, model)


def test_archives_and_workers_change_nothing(
    model: ImageModel, images: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "images.zip"
    with zipfile.ZipFile(packed, "w") as content:
        for path in images.rglob("*.jpg"):
            content.write(path, path.relative_to(images))
    whole, inside = model.embed(images), model.embed(packed, batch_size=2, workers=2)
    np.testing.assert_allclose(whole.values, inside.values, rtol=1e-5, atol=1e-5)
    assert [str(images / name) for name in inside.names] == whole.names


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_program_writes_vectors(
    checkpoint: Path, model: ImageModel, images: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, suffix: str,
) -> None:  # fmt: skip
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / "new" / f"features{suffix}"
    words = ["embed", str(images), "--from", str(checkpoint), "--out", str(out)]
    monkeypatch.setattr("sys.argv", words)
    embed_program.main()
    expected = model.embed(images)
    if suffix == ".npz":
        with np.load(out) as content:
            names, values = list(content["names"]), content["features"]
    elif suffix == ".csv":
        with out.open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        names, values = [row[0] for row in rows], np.array([row[1:] for row in rows], float)
    else:
        from pyarrow.parquet import read_table

        table = read_table(out).to_pydict()
        names, values = table["name"], np.array(table["features"])
    assert names == expected.names
    np.testing.assert_allclose(values, expected.values, rtol=1e-5, atol=1e-6)


def test_program_refuses_other_files_and_checkpoints(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare.pth"
    torch.save({"state_dict": {"norm.weight": torch.ones(3)}}, bare)
    for words, kind, message in (
        (("--from", str(bare), "--out", "x.txt"), UserError, r"must end in \.npz"),
        (("--from", str(bare), "--out", "x.npz"), CheckpointError, "--config"),
        (("--from", "none.pth", "--out", "x.npz"), FileNotFoundError, "none.pth"),
    ):
        monkeypatch.setattr("sys.argv", ["embed", str(images), *words])
        with pytest.raises(kind, match=message):
            embed_program.main()


def test_reconstructions_come_from_the_checkpoint_alone(
    checkpoint: Path, model: ImageModel, images: Path, tmp_path: Path
) -> None:
    paths = sorted(images.rglob("*.jpg"))[:2]
    written = apis.reconstruct(paths, checkpoint, tmp_path / "pictures")
    assert [path.name for path in written] == ["masked.png"]
    assert np.asarray(Image.open(written[0])).std() > 0
    encoder = tmp_path / "encoder.pth"
    torch.save({"state_dict": model.encoder.state_dict()}, encoder)
    with pytest.raises(CheckpointError, match="with its decoder"):
        apis.reconstruct(paths, encoder, tmp_path)


def test_recipes_are_listed_by_part_of_their_name() -> None:
    found = apis.list_models("mae_vit-base")
    assert any(one.name == "mae/mae_vit-base_64xb64-cosine-1600e_in1k.py" for one in found)
    assert all(one.path.is_file() and one.summary for one in found)
    assert len(apis.list_models()) > 200 and apis.list_models("no such") == []
