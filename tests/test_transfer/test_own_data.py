"""Full-size configs on a user's own data: one option, classes from the annotations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from mmvitssl.checkpoint import load_file
from mmvitssl.engine import launch, own_data
from mmvitssl.engine.config_files import read_config
from tests.test_tools import programs
from tests.test_transfer.own_data import NAMES, coco, write
from tests.test_transfer.small_detectors import COCO, shrink_pipeline, small_detector

NAME = "mask-rcnn_vit-small_16xb2-1x_coco"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes in COCO's folders."""
    root = tmp_path_factory.mktemp("own")
    (root / "annotations").mkdir()
    for part in ("train2017", "val2017"):
        content = coco(root, part)
        write(root / "annotations", f"instances_{part}", content)
    return root


def read(data: Path, path: Path = COCO / f"{NAME}.py", **options: object) -> Config:
    options = {"data_root": str(data), **options}
    config = read_config(str(path), options)
    own_data.follow_data_root(config, options)
    launch.prepare_scope(config)
    own_data.read_classes(config, options)
    return config


def test_one_option_moves_data_sets_evaluators_classes_and_heads(data: Path) -> None:
    config = read(data)
    annotations = "annotations/instances_{}2017.json"
    for part, split in (("train", "train"), ("val", "val"), ("test", "val")):
        dataset = config[f"{part}_dataloader"].dataset
        assert Path(dataset.data_root, dataset.ann_file) == data / annotations.format(split)
        assert tuple(dataset.metainfo.classes) == NAMES
    for part in ("val", "test"):
        assert Path(config[f"{part}_evaluator"].ann_file) == data / annotations.format("val")
    heads = config.model.roi_head
    assert heads.bbox_head.num_classes == heads.mask_head.num_classes == 3


def test_wrappers_stages_and_options_of_their_own(data: Path) -> None:
    path = COCO / "cascade-mask-rcnn_vitdet-base_64xb1-100e_coco-1024px.py"
    config = read(data, path, **{"model.roi_head.mask_head.num_classes": 7,
                                 "test_evaluator.ann_file": "mine.json"})  # fmt: skip
    assert Path(config.train_dataloader.dataset.dataset.data_root) == data
    assert [head.num_classes for head in config.model.roi_head.bbox_head] == [3, 3, 3]
    assert config.model.roi_head.mask_head.num_classes == 7  # an error when heads are checked
    assert config.test_evaluator.ann_file == "mine.json"


def test_classes_that_a_config_states_stay(data: Path) -> None:
    path = programs.ROOT / "configs/demo/mask-rcnn_vit-p8_demo.py"
    config = read(data, path)
    assert "ring" in config.train_dataloader.dataset.metainfo.classes
    assert config.model.roi_head.bbox_head.num_classes == 5
    assert config.test_evaluator.ann_file.startswith(str(data))


@pytest.mark.slow
def test_it_trains_and_is_tested(data: Path, tmp_path: Path) -> None:
    config = small_detector(COCO / f"{NAME}.py")
    for part in ("train", "val", "test"):
        loader = config[f"{part}_dataloader"]
        loader.update(num_workers=0, persistent_workers=False)
        shrink_pipeline(loader.dataset.pipeline)
    config.optim_wrapper.type = "OptimWrapper"
    config.train_cfg.max_epochs = 1
    config.dump(tmp_path / "config.py")
    options = ["--cfg-options", f"data_root={data}", "train_dataloader.batch_size=2"]
    run, out = tmp_path / "run", tmp_path / "metrics.json"
    output = programs.train(tmp_path / "config.py", "--work-dir", run, *options).stdout
    assert "ball, star, leaf. model.roi_head.bbox_head.num_classes, model.roi_head.mask" in output
    saved = load_file(run / "last.pth")
    assert tuple(saved["meta"]["dataset_meta"]["classes"]) == NAMES
    # a background beside the three
    assert saved["state_dict"]["roi_head.bbox_head.fc_cls.weight"].shape[0] == 4
    programs.test(tmp_path / "config.py", run / "last.pth", "--work-dir", tmp_path / "test",
                  "--out", out, *options)  # fmt: skip
    assert 0 <= json.loads(out.read_text())["coco/bbox_mAP"] <= 1
    done = programs.train(
        tmp_path / "config.py", "--work-dir", tmp_path / "other", "--cfg-options",
        *[f"{part}_dataloader.dataset.data_root={data}/" for part in ("train", "val")], ok=False,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stdout
    assert "states no classes, so that they are the 80 of its type" in done.stdout
