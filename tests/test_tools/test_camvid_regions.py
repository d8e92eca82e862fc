"""COCO annotations of connected regions, by the program, against a count by hand."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from tests.test_tools import programs
from tests.test_tools.programs import ROOT

TOOL = ROOT / "tools/data/camvid_regions.py"
CAR, PEDESTRIAN = 8, 9


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Two pictures in the layout of CamVid."""
    labels = np.full((20, 30), 3, dtype=np.uint8)
    labels[:2] = 255
    labels[4:8, 2:8] = CAR  # 24 pixels and, from corner to corner, 4 more: one region
    labels[8:10, 8:10] = CAR
    labels[12:16, 20:24] = CAR  # 16
    labels[12:14, 24:26] = PEDESTRIAN  # touches the car
    labels[18, 0] = PEDESTRIAN  # too small
    for folder in ("images", "annotations"):
        (tmp_path / folder / "train").mkdir(parents=True)
    for name, mask in (("b", labels), ("a", np.zeros_like(labels))):
        Image.fromarray(mask).save(tmp_path / f"annotations/train/{name}.png")
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / f"images/train/{name}.jpg")
    return tmp_path


def run(root: Path, *arguments: str) -> str:
    return programs.run(sys.executable, TOOL, root, "--splits", "train", *arguments).stdout


def refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> str:
    """What the program ends with, in this process."""
    monkeypatch.setattr(sys, "argv", [TOOL.name, *map(str, arguments), "--splits", "train"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stopped.value.code != 0
    return f"{stopped.value.code}{capsys.readouterr().err}"


def test_regions_become_instances(camvid: Path) -> None:
    output = run(camvid, "--min-area", "4")
    assert "2 images, 2 car, 1 pedestrian, 0 bicyclist" in output.replace("\n", "")
    coco = COCO(str(camvid / "annotations/regions_train.json"))
    assert [c["name"] for c in coco.dataset["categories"]] == ["car", "pedestrian", "bicyclist"]
    first, second = coco.dataset["images"]
    assert (first["file_name"], second["file_name"]) == ("a.jpg", "b.jpg")
    assert (second["height"], second["width"]) == (20, 30)
    found = coco.dataset["annotations"]
    assert {item["image_id"] for item in found} == {second["id"]}
    assert [(item["category_id"], item["area"]) for item in found] == [(1, 28), (1, 16), (2, 4)]
    assert found[0]["bbox"] == [2, 4, 8, 6] and found[2]["bbox"] == [24, 12, 2, 2]
    labels = np.asarray(Image.open(camvid / "annotations/train/b.png"))
    for label, value in ((1, CAR), (2, PEDESTRIAN)):
        masks = [coco.annToMask(item) for item in found if item["category_id"] == label]
        inside = sum(masks).astype(bool)
        assert (labels[inside] == value).all()
        assert (labels == value).sum() - inside.sum() == (1 if value == PEDESTRIAN else 0)


def test_small_regions_and_other_classes(camvid: Path) -> None:
    output = run(camvid, "--min-area", "17", "--classes", "car", "sky")
    assert "1 car, 1 sky" in output.replace("\n", "")
    record = json.loads((camvid / "annotations/regions_train.json").read_text())
    assert [item["area"] for item in record["annotations"]] == [600, 28]


def test_what_is_wrong_is_named(
    camvid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = camvid / "annotations/train/b.png"
    Image.fromarray(np.full((4, 4), 11, np.uint8)).save(wrong)
    assert "b.png has the indices [11]" in refusal(monkeypatch, capsys, camvid)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(wrong)
    assert "b.png has the shape (4, 4, 3)" in refusal(monkeypatch, capsys, camvid)
    wrong.write_bytes(b"no picture")
    assert "b.png is not an image" in refusal(monkeypatch, capsys, camvid)
    (camvid / "images/train/a.jpg").unlink()
    assert "a.png has no image" in refusal(monkeypatch, capsys, camvid)
    assert "no annotations" in refusal(monkeypatch, capsys, camvid / "elsewhere")
    told = refusal(monkeypatch, capsys, camvid, "--min-area", "0")
    assert "--min-area must be at least 1, not 0" in told


@pytest.mark.slow
def test_mask_rcnn_trains_and_is_evaluated_on_regions(camvid: Path, tmp_path: Path) -> None:
    for folder in ("images", "annotations"):
        (camvid / folder / "test").symlink_to(camvid / folder / "train")
    run(camvid, "--min-area", "4")
    regions = camvid / "annotations/regions_train.json"
    (camvid / "annotations/regions_test.json").write_text(regions.read_text())
    options = [
        "--cfg-options", f"train_dataloader.dataset.data_root={camvid}/",
        f"test_dataloader.dataset.data_root={camvid}/", "train_cfg.max_iters=2",
        f"test_evaluator.ann_file={camvid}/annotations/regions_test.json",
        "default_hooks.checkpoint.interval=2", "default_hooks.logger.interval=1",
        "train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False",
    ]  # fmt: skip
    config = ROOT / "configs/transfer/camvid/mask-rcnn_vit-tiny-6_camvid-regions.py"
    work = tmp_path / "run"
    programs.train(config, "--work-dir", work, *options)
    steps = [line for line in programs.logged(work) if "loss" in line]
    assert len(steps) == 2 and all(np.isfinite(line["loss"]) for line in steps)
    out = programs.test(config, work / "last.pth", "--work-dir", tmp_path / "test", *options).stdout
    assert -1 <= programs.value(out, "coco/segm_mAP") <= 1
