"""COCO annotations that do not fit the config are refused before the first step, in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from PIL import Image

from mmvitssl.engine import coco_checks, launch
from mmvitssl.engine.launch import UserError
from tests.test_transfer.own_data import NAMES, coco, write

LOAD = dict(type="LoadImageFromFile")
PIPELINE = [LOAD, dict(type="LoadAnnotations", with_bbox=True, with_mask=True)]


@pytest.fixture(scope="module", autouse=True)
def modules() -> None:
    launch.prepare_scope(Config(dict(default_scope="mmdet")))


def config_of(data: Path, classes: Any = NAMES, **evaluator: Any) -> Config:
    def dataset(part: str) -> dict[str, Any]:
        meta = {} if classes is None else dict(metainfo=dict(classes=classes))
        return dict(type="CocoDataset", data_root=str(data), ann_file=f"{part}.json",
                    data_prefix=dict(img=f"{part}/"), pipeline=PIPELINE, **meta)  # fmt: skip

    metric = dict(type="CocoMetric", ann_file=str(data / "val.json"), metric=["bbox", "segm"])
    return Config(dict(
        default_scope="mmdet", train_dataloader=dict(dataset=dataset("train")),
        val_dataloader=dict(dataset=dataset("val")), val_evaluator={**metric, **evaluator},
    ))  # fmt: skip


def made(folder: Path, change: Callable[[Any], None] | None = None, part: str = "train") -> Path:
    for name in ("train", "val"):
        content = coco(folder, name)
        if change is not None and name == part:
            change(content)
        write(folder, name, content)
    return folder


def check(config: Config) -> None:
    coco_checks.check_annotations(config, ("train", "val"))


def warned(config: Config, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(
        "mmvitssl.engine.dataset_tree.print_log", lambda text, **_: lines.append(text)
    )
    check(config)
    return lines


def test_what_fits_passes_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert warned(config_of(made(tmp_path)), monkeypatch) == []


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("ball", "stra", "leaf"), "has stra, .*Did you mean 'star'"),
        (("Ball", "Star", "Leaf"), "has Ball, Star, Leaf"),
        ("ball", r"is the string 'ball'.*classes=\('ball',\)"),
        (("leaf", "star", "ball"), r"order of the categories.*classes=\('ball', 'star', 'leaf'\)"),
        (("ball", "ball"), "names ball twice"),
        ((), "must be names"),
        (None, "states no classes, so that they are the 80 .*num_classes=3"),
    ],
)
def test_classes(classes: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        check(config_of(made(tmp_path), classes))


def test_some_of_the_categories_and_a_file_of_names_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("ball\nleaf\n")
    config = config_of(made(tmp_path), str(names))
    assert "2 of 6 annotations" in warned(config, monkeypatch)[0]


def drop(key: str, part: str = "annotations") -> Callable[[Any], None]:
    return lambda content: content[part][1].pop(key)


def put(key: str, value: Any, part: str = "annotations") -> Callable[[Any], None]:
    return lambda content: content[part][1].update({key: value})


RLE = dict(size=[64, 64], counts=[0, 100])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("area"), r"annotations\[1\] has no 'area'"),
        (drop("height", "images"), r"images\[1\] has no 'height'"),
        (put("id", 1), "ids 1 of annotations are not unique"),
        (put("name", "ball", "categories"), "several categories are named ball"),
        (put("category_id", 99), "annotation id 2 has category_id 99"),
        (put("image_id", 99), "annotation id 2 has image_id 99"),
        (put("bbox", [1, 2, 3]), r"id 2 in 0.png has bbox \[1, 2, 3\]"),
        (drop("segmentation"), "1 of 6 annotations .*'segmentation'.*id 2 in 0.png"),
        (put("segmentation", []), "no usable 'segmentation'"),
        (put("segmentation", [[1, 2, 3, 4]]), "no usable 'segmentation'"),
        (put("file_name", "none.png", "images"), "There is no file .*none.png"),
        (put("width", 70, "images"), "1.png is 64 wide and 64 high .*says width 70"),
        (lambda content: content.pop("images"), "has no list 'images'"),
    ],
)
def test_annotations(change: Callable[[Any], None], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        check(config_of(made(tmp_path, change)))


def test_no_json(tmp_path: Path) -> None:
    (made(tmp_path) / "train.json").write_text("{'images': ")
    with pytest.raises(UserError, match="train.json is no JSON file"):
        check(config_of(tmp_path))


def test_rle_masks_that_polygons_leave_out(tmp_path: Path) -> None:
    config = config_of(made(tmp_path, put("segmentation", RLE)))
    check(config)
    config.train_dataloader.dataset.pipeline[1].poly2mask = False
    with pytest.raises(UserError, match="poly2mask=False.* leaves out the 1 .*id 2 in 0.png"):
        check(config)


def test_boxes_alone_need_no_masks(tmp_path: Path) -> None:
    config = config_of(made(tmp_path, drop("segmentation")))
    config.train_dataloader.dataset.pipeline[1].with_mask = False
    check(config)


def test_lost_boxes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(made(tmp_path, put("bbox", [70, 2, 9, 9])))
    assert "leaves out 1 of 6" in warned(config, monkeypatch)[0]


def corners(content: Any) -> None:
    for note in content["annotations"]:
        x, y, w, h = note["bbox"]
        note["bbox"] = [x, y, x + w, y + h]


def test_two_corners_for_a_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not two corners" in warned(config_of(made(tmp_path, corners)), monkeypatch)[0]


def turned(folder: Path) -> Path:
    """A stored image of 96 x 64 that EXIF turns, annotated as it is stored."""
    content = coco(folder, "train", name="{}.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (96, 64)).save(folder / "train/1.jpg", exif=exif)
    content["images"][1]["width"] = 96
    write(folder, "train", content)
    write(folder, "val", coco(folder, "val"))
    return folder


def test_an_image_turned_by_exif(tmp_path: Path) -> None:
    config = config_of(turned(tmp_path))
    with pytest.raises(UserError, match="1.jpg is 64 wide and 96 high.*color_ignore_orientation"):
        check(config)
    config.train_dataloader.dataset.pipeline[0].color_type = "color_ignore_orientation"
    check(config)  # the mend that was named


def other_boxes(content: Any) -> None:
    content["annotations"][0]["bbox"][0] += 1


@pytest.mark.parametrize(
    ("images", "change", "words"),
    [
        (3, None, "annotates 3 images, but val_dataloader.dataset has 2 .*ids 2: set "),
        (2, put("file_name", "x.png", "images"), "differ in the image ids 1"),
        (2, other_boxes, "has other boxes for the images of val_dataloader.dataset"),
    ],
)
def test_evaluator_of_other_data(
    images: int, change: Callable[[Any], None] | None, words: str, tmp_path: Path
) -> None:
    content = coco(tmp_path / "other", "val", images)
    if change is not None:
        change(content)
    config = config_of(made(tmp_path), ann_file=str(write(tmp_path / "other", "val", content)))
    with pytest.raises(UserError, match=f"val_evaluator.ann_file .*{words}"):
        check(config)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("iscrowd"), "has no 'iscrowd'"),
        (drop("segmentation"), "1 of 6 annotations"),
        (lambda content: content["annotations"].clear(), "has no annotations to compare with"),
        (lambda content: content["categories"].reverse(), "order of the categories"),
    ],
)
def test_annotations_to_compare_with(
    change: Callable[[Any], None], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        check(config_of(made(tmp_path, change, "val")))


def test_an_evaluator_without_its_file(tmp_path: Path) -> None:
    config = config_of(made(tmp_path), ann_file=str(tmp_path / "none.json"))
    with pytest.raises(UserError, match="val_evaluator.ann_file is .*none.json.*val.json"):
        check(config)


@pytest.mark.parametrize("kind", ["Repeat", "ClassBalanced", "MultiImageMix", "Concat"])
def test_wrappers(kind: str, tmp_path: Path) -> None:
    config = config_of(made(tmp_path))
    inner = config.train_dataloader.dataset
    held = dict(datasets=[inner, {**inner, "metainfo": dict(classes=("ball", "stra"))}])
    if kind != "Concat":
        held = dict(dataset=held["datasets"][1])
    config.train_dataloader.dataset = dict(type=f"{kind}Dataset", **held)
    place = "datasets.1" if kind == "Concat" else "dataset"
    with pytest.raises(UserError, match=f"train_dataloader.dataset.{place}.metainfo.*stra"):
        check(config)


def test_nothing_left_to_train_on(tmp_path: Path) -> None:
    config = config_of(made(tmp_path, lambda content: content["annotations"].clear()))
    check(config)
    config.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True)
    with pytest.raises(UserError, match="train_dataloader.dataset is empty: filter_cfg.* 2 imag"):
        check(config)
