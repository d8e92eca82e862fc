"""Tests on two processes that get different numbers of images, or none: metrics and pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from PIL import Image

from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.hooks.predictions import picture_names
from tests.test_tools import programs
from tests.test_tools.test_probes import small, write_images
from tests.test_transfer.own_data import coco, detector, masks, scene, segmentor, write


def checkpoint(config: Path, folder: Path) -> Path:
    """Weights of the config's model as they are drawn."""
    settings = read_config(str(config))
    launch.set_devices(settings, "none")
    scope = launch.prepare_scope(settings)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(settings.model)
    path = folder / f"{config.stem}.pth"
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def nested(folder: Path, images: int) -> Path:
    """COCO's validation images in folders of their own, all with one file name."""
    folder.mkdir(parents=True)
    write(folder, "val", coco(folder, "val", images, name="{}/same.png"))
    return folder


def detection(folder: Path, images: int) -> tuple[Path, Path]:
    data = nested(folder / f"det{images}", images)
    config = detector(data, data)
    return config, checkpoint(config, data)


def segmentation(folder: Path, images: int) -> tuple[Path, Path]:
    data = folder / f"seg{images}"
    masks(data, "val", images)
    config = segmentor(data, data, more="test_dataloader.update(batch_size=2)")
    return config, checkpoint(config, data)


def classification(folder: Path) -> tuple[Path, Path]:
    """A single image, so that one of two processes has none."""
    data = folder / "kinds"
    for part in ("train", "val"):
        write_images(data / part, 1, seed=0)
    (folder / "probe").mkdir()
    config, _ = small("linear-mae", data, folder / "probe")
    (folder / "one.txt").write_text("lying/0.png 1\n")
    settings = Config.fromfile(config)
    old = settings.test_dataloader.dataset
    settings.test_dataloader.dataset = dict(
        type="ImageList", ann_file=str(folder / "one.txt"), root=old.root, labelled=True,
        pipeline=old.pipeline,
    )  # fmt: skip
    settings.dump(config)
    return config, checkpoint(config, folder / "probe")


@pytest.mark.slow
def test_uneven_and_empty_shares(tmp_path: Path) -> None:
    runs = {
        "det3": detection(tmp_path, 3), "det1": detection(tmp_path, 1),
        "seg3": segmentation(tmp_path, 3), "seg1": segmentation(tmp_path, 1),
        "kinds": classification(tmp_path),
    }  # fmt: skip
    arguments: list[str] = []
    for name, (config, weights) in runs.items():
        show = "-" if name == "kinds" else str(tmp_path / f"show-{name}")
        arguments += [str(config), str(weights), str(tmp_path / f"{name}.json"), show]
    programs.run(
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        "-m", "tests.test_transfer.tested_in_turn", *arguments,
    )  # fmt: skip
    for name, (config, weights) in runs.items():
        alone = tmp_path / f"{name}-alone.json"
        programs.test(config, weights, "--work-dir", tmp_path / f"{name}-alone", "--out", alone)
        together = json.loads((tmp_path / f"{name}.json").read_text())
        assert together == pytest.approx(json.loads(alone.read_text()), abs=1e-6, nan_ok=True)
        assert together, name
    for number in (1, 3):
        drawn = tmp_path / f"show-det{number}"
        expected = [drawn / f"{i}/same.png" for i in range(number)]
        assert sorted(drawn.rglob("*.*")) == expected
        for seed, path in enumerate(expected):
            truth, predicted = np.split(np.asarray(Image.open(path)).astype(int), 2, axis=1)
            for half in (truth, predicted):  # each of its own image, and something drawn over it
                difference = np.abs(half - scene(seed)[0]).mean()
                assert 1 < difference < 90
                assert difference < np.abs(half - scene(seed + 5)[0]).mean()
        shown = tmp_path / f"show-seg{number}"
        assert sorted(shown.rglob("*.*")) == [shown / f"{i}.png" for i in range(number)]


@pytest.mark.parametrize(
    ("paths", "folders", "suffix", "names"),
    [
        (["/d/val/a/1.jpg", "/d/val/b/1.jpg"], ["/d/val"], None, ["a/1.jpg", "b/1.jpg"]),
        (["/d/val/a/1.jpg"], ["/d/val/"], ".png", ["a/1.png"]),
        (["/d/1.jpg", "/d/1.png"], ["/d"], ".png", ["1.jpg.png", "1.png.png"]),
        (["/d/x/1.jpg", "/d/y/1.jpg"], ["/d/x", "/d/y"], None, ["x/1.jpg", "y/1.jpg"]),
        (["/d/x/1.jpg", "/d/y/1.jpg"], ["/e"], None, ["x/1.jpg", "y/1.jpg"]),
        (["/d/1.jpg", "/d/1.jpg"], [], ".png", ["1.png", "1.png"]),
    ],
)
def test_names_of_pictures(
    paths: list[str], folders: list[str], suffix: str | None, names: list[str]
) -> None:
    assert picture_names(paths, folders, suffix) == names
