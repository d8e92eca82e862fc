"""The demo's data: deterministic, and one truth in COCO's and ADE20K's form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from demo import CLASSES, PALETTE, make_demo_data
from demo.objects import place_object, texture
from demo.photographs import PHOTOGRAPHS, read_photograph
from demo.scenes import compose_closeup, compose_scene, generator, visible_masks

DOCS = Path(__file__).resolve().parents[2] / "docs" / "demo_data.md"


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "data"
    make_demo_data(out, train=10, val=4, seed=3, image_size=96, pretrain=11)
    return out


def test_same_arguments_give_the_same_bytes(made: Path, tmp_path: Path) -> None:
    make_demo_data(tmp_path / "again", train=10, val=4, seed=3, image_size=96, pretrain=11)
    assert contents(made) == contents(tmp_path / "again")


def test_an_image_does_not_depend_on_how_many_there_are(made: Path, tmp_path: Path) -> None:
    make_demo_data(tmp_path / "few", train=2, val=1, seed=3, image_size=96)
    few, many = contents(tmp_path / "few"), contents(made)
    images = [name for name in few if name.endswith((".jpg", ".png"))]
    assert len(images) == 6 and all(few[name] == many[name] for name in images)


def test_seeds_and_splits_differ(made: Path, tmp_path: Path) -> None:
    make_demo_data(tmp_path / "other", train=1, val=1, seed=4, image_size=96)
    other, mine = contents(tmp_path / "other"), contents(made)
    assert other["images/train/00000.jpg"] != mine["images/train/00000.jpg"]
    assert mine["images/train/00000.jpg"] != mine["images/val/00000.jpg"]


def test_coco_and_masks_tell_the_same(made: Path) -> None:
    coco = COCO(str(made / "annotations/instances_train.json"))
    assert [category["name"] for category in coco.dataset["categories"]] == list(CLASSES)
    for image in coco.dataset["images"]:
        stem = Path(image["file_name"]).stem
        semantic = np.asarray(Image.open(made / f"masks/train/{stem}.png"))
        assert semantic.shape == (image["height"], image["width"]) == (96, 96)
        rebuilt = np.ones_like(semantic)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]])):
            mask = coco.annToMask(annotation).astype(bool)
            assert (rebuilt[mask] == 1).all(), "visible parts overlap"
            rebuilt[mask] = annotation["category_id"] + 1
            rows, columns = np.nonzero(mask)
            x, y, width, height = annotation["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
            assert annotation["area"] == mask.sum() > 0
        assert np.array_equal(rebuilt, semantic)


def test_cityscapes_layout_tells_the_same_and_leaves_the_rest_alone(
    made: Path, tmp_path: Path
) -> None:
    out = tmp_path / "city"
    make_demo_data(out, train=2, val=1, seed=3, image_size=96, cityscapes=True)
    names = np.full(256, -1)
    names[[9, 6, 3, 7, 5, 8]] = np.arange(1, 7)  # terrain and the five classes as masks/ has them
    for split, number in (("train", 2), ("val", 1)):
        images = sorted((out / f"leftImg8bit/{split}").rglob("*_leftImg8bit.png"))
        labels = sorted((out / f"gtFine/{split}").rglob("*_gtFine_labelTrainIds.png"))
        assert len(images) == len(labels) == number
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            stem = image.name.removesuffix("_leftImg8bit.png")
            assert label.name == f"{stem}_gtFine_labelTrainIds.png"
            ids = np.asarray(Image.open(label))
            mask = np.asarray(Image.open(out / f"masks/{split}/{index:05d}.png"))
            inner = (slice(2, -2), slice(2, -2))
            assert np.array_equal(names[ids[inner]], mask[inner])
            assert (ids == 255).sum() == 96 * 96 - 92 * 92
            pixels = np.asarray(Image.open(image)).astype(float)
            jpeg = np.asarray(Image.open(out / f"images/{split}/{index:05d}.jpg"))
            assert pixels.shape == (96, 96, 3) and np.abs(pixels - jpeg).mean() < 8
    assert contents(made)["images/train/00001.jpg"] == contents(out)["images/train/00001.jpg"]
    assert not (made / "gtFine").exists()


def test_every_class_occurs_and_objects_are_large() -> None:
    seen, sides = set(), []
    for index in range(25):
        scene = compose_scene(128, generator(0, "train", index))
        assert 1 <= len(scene.instances) <= 2
        for instance in scene.instances:
            seen.add(instance.label)
            rows = np.nonzero(instance.mask.any(axis=1))[0]
            sides.append(np.ptp(rows) + 1)
    assert seen == set(range(len(CLASSES))) and np.median(sides) > 0.4 * 128


def test_textures_differ_in_pattern_alone() -> None:
    for name in CLASSES:
        values = [texture(name, 96, np.random.default_rng(seed)) for seed in range(20)]
        assert np.mean(values) == pytest.approx(1, abs=0.02), name
        assert 0.2 < np.std(values) < 0.25, name


def test_closeups_show_mostly_object() -> None:
    rng = np.random.default_rng(0)
    grey = [compose_closeup("camera", 32, 96, rng).std(axis=-1) < 12 for _ in range(20)]
    assert np.mean(grey) < 0.35  # that photograph has no colour, and every object has


def test_front_objects_cover_those_behind() -> None:
    rng = np.random.default_rng(0)
    behind = place_object(0, 64, (30.0, 32.0), 16.0, rng)
    front = place_object(1, 64, (38.0, 32.0), 16.0, rng)
    first, second = visible_masks([behind, front])
    assert not (first & second).any()
    assert np.array_equal(second, front.alpha >= 0.5)
    assert np.array_equal(first | second, (behind.alpha >= 0.5) | second)


def test_ready_data_is_left_alone_and_mended_if_a_file_is_gone(tmp_path: Path) -> None:
    out = tmp_path / "data"
    make_demo_data(out, train=2, val=1, image_size=64)
    before = (out / "images/train/00000.jpg").stat().st_mtime_ns
    make_demo_data(out, train=2, val=1, image_size=64)
    assert (out / "images/train/00000.jpg").stat().st_mtime_ns == before
    (out / "masks/val/00000.png").unlink()
    make_demo_data(out, train=2, val=1, image_size=64)
    assert (out / "masks/val/00000.png").is_file()


def test_other_data_are_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "data"
    make_demo_data(out, train=1, val=1, image_size=64)
    with pytest.raises(FileExistsError, match="was made with"):
        make_demo_data(out, train=2, val=1, image_size=64)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("do not touch")
    with pytest.raises(FileExistsError, match="holds no finished demo data"):
        make_demo_data(mine, train=1, val=1)
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [(dict(train=0), "--train"), (dict(val=-1), "--val"), (dict(image_size=10), "--image-size")],
)
def test_bad_numbers_name_their_argument(
    tmp_path: Path, changes: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_demo_data(tmp_path / "data", **{"train": 1, "val": 1, **changes})


def test_photographs_are_there_and_named_with_their_licences(made: Path) -> None:
    page = DOCS.read_text()
    recorded = json.loads((made / "dataset.json").read_text())["photographs"]
    assert len(PALETTE) == len(CLASSES)
    for photograph, record in zip(PHOTOGRAPHS, recorded, strict=True):
        pixels = read_photograph(photograph.name)
        assert pixels.ndim == 3 and pixels.dtype == np.uint8 and pixels.std() > 5
        assert record["licence"] == photograph.licence
        row = next(line for line in page.splitlines() if line.startswith(f"| {photograph.name} |"))
        assert photograph.licence in row and photograph.author in row
