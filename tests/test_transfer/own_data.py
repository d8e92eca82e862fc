"""A user's own data: scenes of rectangles, with COCO annotations and with masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.test_tools.programs import ROOT

NAMES = ("ball", "star", "leaf")
SIDE = 64


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(64, 64, 3) pixels of three rectangles on noise, and their (3, 4) boxes x, y, w, h."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 140, (SIDE, SIDE, 3), dtype=np.uint8)
    boxes = np.array([[4 + 20 * i, rng.integers(4, 30), 16, 24] for i in range(len(NAMES))])
    for (x, y, w, h), colour in zip(boxes, ((220, 40, 40), (230, 220, 40), (40, 180, 60)),
                                    strict=True):  # fmt: skip
        pixels[y : y + h, x : x + w] = colour
    return pixels, boxes


def coco(folder: Path, part: str, images: int = 2, seed: int = 0, name: str = "{}.png") -> Any:
    """Write images, and return their annotations."""
    content: dict[str, Any] = dict(images=[], annotations=[], categories=[
        dict(id=3 + 4 * i, name=label) for i, label in enumerate(NAMES)])  # fmt: skip
    for number in range(images):
        pixels, boxes = scene(seed + number)
        path = folder / part / name.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        content["images"].append(
            dict(id=number, file_name=name.format(number), height=SIDE, width=SIDE)
        )
        for label, (x, y, w, h) in enumerate(boxes.tolist()):
            content["annotations"].append(dict(
                id=len(content["annotations"]) + 1, image_id=number, category_id=3 + 4 * label,
                bbox=[x, y, w, h], area=w * h, iscrowd=0,
                segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]]))  # fmt: skip
    return content


def write(folder: Path, part: str, content: Any) -> Path:
    path = folder / f"{part}.json"
    path.write_text(json.dumps(content))
    return path


def masks(
    folder: Path, part: str, number: int = 3, change: Any = None, suffix: str = ".jpg"
) -> Any:
    """Write images and masks with the labels 0 (background), 1, 2, 3, changed by ``change``."""
    for index in range(number):
        pixels, boxes = scene(index)
        labels = np.zeros((SIDE, SIDE), np.uint8)
        for label, (x, y, w, h) in enumerate(boxes.tolist(), 1):
            labels[y : y + h, x : x + w] = label
        labels = labels if change is None else change(labels)
        mask = labels if isinstance(labels, Image.Image) else Image.fromarray(labels)
        for place, picture, end in (("images", Image.fromarray(pixels), suffix),
                                    ("masks", mask, ".png")):  # fmt: skip
            path = folder / place / part / f"{index}{end}"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)


def detector(
    folder: Path, data: Path, classes: Any = NAMES, heads: int = 3, more: str = ""
) -> Path:
    """A small Mask R-CNN that inherits from the demo's."""
    path = folder / "detector.py"
    path.write_text(f"""
_base_ = '{ROOT}/configs/demo/mask-rcnn_vit-p8_demo.py'
encoder = dict(image_size={SIDE})
model = dict(
    backbone=dict(encoder=encoder),
    roi_head=dict(bbox_head=dict(num_classes={heads}), mask_head=dict(num_classes={heads})),
    test_cfg=dict(rcnn=dict(score_thr=0.0)))
data = dict(data_root='{data}/', metainfo=dict(classes={classes!r}))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(ann_file='train.json', data_prefix=dict(img='train/'), **data))
test_dataloader = dict(
    num_workers=0, dataset=dict(ann_file='val.json', data_prefix=dict(img='val/'), **data))
test_evaluator = dict(ann_file='{data}/val.json')
train_cfg = dict(max_iters=2, val_interval=3)
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=2),
    visualization=dict(type='DetVisualizationHook', score_thr=0.0))
{more}
""")
    return path


def segmentor(
    folder: Path, data: Path, classes: Any = ("background", *NAMES), more: str = ""
) -> Path:
    """A small UperNet that inherits from the demo's; labels as they stand in the masks."""
    path = folder / "segmentor.py"
    path.write_text(f"""
_base_ = '{ROOT}/configs/demo/upernet_vit-p8_demo.py'
encoder = dict(image_size={SIDE})
heads = dict(num_classes={len(classes)})
model = dict(
    data_preprocessor=dict(size=({SIDE}, {SIDE})),
    backbone=dict(encoder=encoder), decode_head=heads, auxiliary_head=heads)
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
data = dict(
    data_root='{data}/', metainfo=dict(_delete_=True, classes={classes!r}),
    reduce_zero_label=False, pipeline=[*load, dict(type='PackSegInputs')])
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = dict(num_workers=0, dataset=data)
train_cfg = dict(max_iters=2, val_interval=3)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
{more}
""")
    return path
