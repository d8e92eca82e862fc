"""Masks and heads that do not fit the classes are refused before the first step, in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from PIL import Image
from torch import nn

from mmvitssl.engine import dense_checks, launch
from mmvitssl.engine.launch import UserError
from mmvitssl.engine.mask_checks import check_masks
from tests.test_transfer.own_data import masks

CLASSES = ("background", "ball", "star", "leaf")
FIELD = "train_dataloader.dataset"


@pytest.fixture(scope="module", autouse=True)
def modules() -> None:
    launch.prepare_scope(Config(dict(default_scope="mmseg")))


def dataset(folder: Path, loader: dict[str, Any] | None = None, **settings: Any) -> Any:
    config = dict(
        type="BaseSegDataset", data_root=str(folder),
        data_prefix=dict(img_path="images/train", seg_map_path="masks/train"),
        pipeline=[
            dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", **(loader or {})),
        ],
    )  # fmt: skip
    config |= dict(metainfo=dict(classes=CLASSES)) | settings
    with DefaultScope.overwrite_default_scope("mmseg"):
        return DATASETS.build(config)


def indexed(labels: np.ndarray) -> Image.Image:
    picture = Image.fromarray(labels)
    picture.putpalette([0, 0, 0, 200, 30, 30, 30, 200, 30, 9, 9, 9])
    return picture


@pytest.mark.parametrize("change", [None, indexed, lambda m: np.where(m == 2, 255, m)])
def test_labels_indices_of_a_palette_and_ignored_pixels_are_right(
    change: Any, tmp_path: Path
) -> None:
    def kept(labels: np.ndarray) -> Any:
        return labels if change is None else change(labels)

    masks(tmp_path, "train", change=kept)
    never = check_masks(FIELD, dataset(tmp_path), True)
    expected = [f"{FIELD}: 3 of 3 masks looked at, no pixel of which is star."]
    assert never == (expected if change not in (None, indexed) else [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: (m > 0).astype(np.uint8) * 255, "no pixel of .*masks/train.*255 means 'no lab"),
        (lambda m: m * 0 + 255, "has another label than none"),
        (lambda m: indexed(m).convert("RGB"), "masks/train/0.png is stored as RGB"),
        (lambda m: indexed(m).convert("RGBA"), "masks/train/0.png is stored as RGBA"),
        (lambda m: m + 1, r"0.png has the values 1, 2, 3, 4, .*reduce_zero_label=True if 0"),
        (lambda m: m * 60, "has the values 0, 60, 120, 180, .*numbered 0 to 3"),
        (lambda m: m.astype(np.uint16) * 300, "has the values 0, 300, 600, 900"),
        (lambda m: m[:32], "masks/train/0.png is 64 wide and 32 high, but its image .* 64 and 64"),
    ],
)
def test_masks(change: Callable[[np.ndarray], Any], words: str, tmp_path: Path) -> None:
    masks(tmp_path, "train", change=change)
    with pytest.raises(UserError, match=words):
        check_masks(FIELD, dataset(tmp_path), True)


def test_missing_masks_and_other_decoders(tmp_path: Path) -> None:
    masks(tmp_path, "train", change=indexed)
    with pytest.raises(UserError, match="several channels by LoadAnnotations.*'cv2'.*'pillow'"):
        check_masks(FIELD, dataset(tmp_path, dict(imdecode_backend="cv2")), True)
    (tmp_path / "masks/train/1.png").unlink()
    with pytest.raises(UserError, match="There is no file .*masks/train/1.png"):
        check_masks(FIELD, dataset(tmp_path), True)


def test_an_image_turned_by_exif(tmp_path: Path) -> None:
    masks(tmp_path, "train")
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (96, 64)).save(tmp_path / "images/train/1.jpg", exif=exif)
    Image.new("L", (96, 64)).save(tmp_path / "masks/train/1.png")
    with pytest.raises(UserError, match="1.png is 96 wide and 64 high.* 64 and 96, .*EXIF"):
        check_masks(FIELD, dataset(tmp_path), True)


def test_zero_as_a_class_and_as_none(tmp_path: Path) -> None:
    masks(tmp_path, "train")
    reduced = dict(reduce_zero_label=True)
    with pytest.raises(UserError, match="say it once"):
        check_masks(FIELD, dataset(tmp_path, dict(reduce_zero_label=False), **reduced), True)
    with pytest.raises(UserError, match="'background' would be the value 1.*no pixel is 'leaf'"):
        check_masks(FIELD, dataset(tmp_path, **reduced), True)
    own = dict(metainfo=dict(classes=CLASSES[1:]))
    assert check_masks(FIELD, dataset(tmp_path, **reduced, **own), True) == []


def test_classes_left_at_a_benchmarks(tmp_path: Path) -> None:
    masks(tmp_path, "train")
    left = dict(type="ADE20KDataset", reduce_zero_label=True, metainfo={})
    with pytest.raises(UserError, match="150 of ADE20KDataset, .*only the labels 0, 1, 2"):
        check_masks(FIELD, dataset(tmp_path, **left), False)


class Model(nn.Module):
    """Heads under the names of mmseg and mmdet."""

    def __init__(self, decode: int, auxiliary: int) -> None:
        super().__init__()
        self.num_classes = decode
        self.decode_head, self.rpn_head = nn.Identity(), nn.Identity()
        self.auxiliary_head = nn.ModuleList([nn.Identity(), nn.Identity()])
        self.decode_head.num_classes, self.rpn_head.num_classes = decode, 1
        self.auxiliary_head[0].num_classes = decode
        self.auxiliary_head[1].num_classes = auxiliary


def runner_of(model: nn.Module, train: Any, val: Any = None) -> Any:
    def loop(data: Any) -> Any:
        metrics = SimpleNamespace(metrics=[])
        return SimpleNamespace(dataloader=SimpleNamespace(dataset=data), evaluator=metrics)

    return SimpleNamespace(
        model=model, default_scope=SimpleNamespace(scope_name="mmseg"), cfg=Config({}),
        train_loop=loop(train), val_loop=loop(val) if val is not None else None,
        test_loop=loop(val),
    )  # fmt: skip


def check(runner: Any) -> None:
    dense_checks.check_dense(runner, ("train", "val"))


def test_every_head_is_as_wide_as_the_classes(tmp_path: Path) -> None:
    masks(tmp_path, "train")
    data = dataset(tmp_path)
    check(runner_of(Model(4, 4), data))
    with pytest.raises(UserError, match="4 classes .*but model.auxiliary_head.1.num_classes=6: "):
        check(runner_of(Model(4, 6), data))
    with pytest.raises(UserError, match="decode_head.num_classes=6, .*cfg-options model.decode_"):
        check(runner_of(Model(6, 6), data))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(metainfo=dict(classes=(*CLASSES[:2], "leaf", "star"))), "the same names in the sam"),
        (dict(reduce_zero_label=True), "labels would be shifted by one"),
        (dict(metainfo=dict(classes="ball")), "has the classes 'ball'"),
    ],
)
def test_other_data_sets(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    masks(tmp_path, "train")
    with pytest.raises(UserError, match=words):
        check(runner_of(Model(4, 4), dataset(tmp_path), dataset(tmp_path, **settings)))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(img_suffix=".png"), r"is empty: no file in .*train ends in '.png' .*there are .jpg"),
        (dict(metainfo=dict(classes="ball")), r"the string 'ball'.*classes=\('ball',\)"),
    ],
)
def test_before_data_sets_are_built(settings: Any, words: str, tmp_path: Path) -> None:
    masks(tmp_path, "train")
    prefix = dict(img_path="images/train", seg_map_path="masks/train")
    own = dict(type="BaseSegDataset", data_root=str(tmp_path), data_prefix=prefix)
    config = Config(dict(default_scope="mmseg", train_dataloader=dict(dataset=own)))
    dense_checks.check_files(config, ("train",))
    config.train_dataloader.dataset = dict(type="RepeatDataset", dataset={**own, **settings})
    with pytest.raises(UserError, match=f"train_dataloader.dataset.dataset.*{words}"):
        dense_checks.check_files(config, ("train",))


def test_classes_of_a_checkpoint(tmp_path: Path) -> None:
    masks(tmp_path, "train")
    runner = runner_of(Model(4, 4), None, dataset(tmp_path))
    path = tmp_path / "last.pth"

    def save(**meta: Any) -> None:
        meta = dict(classes=CLASSES, reduce_zero_label=False) | meta
        torch.save(dict(state_dict={}, meta=dict(dataset_meta=meta)), path)
        dense_checks.check_checkpoint(runner, path, "test")

    save()
    with pytest.raises(UserError, match="was trained on the classes leaf, star.*test_dataloader"):
        save(classes=CLASSES[::-1])
    with pytest.raises(UserError, match="trained with reduce_zero_label=True"):
        save(reduce_zero_label=True)
