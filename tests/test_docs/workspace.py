"""A folder like a checkout in which the documentation's commands run, with small made data."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.test_docs.shrink import IMAGES
from tests.test_tools.programs import ROOT

SIDES = (96, 128)  # height and width of all images
LINKS = ("tools", "requirements", "Makefile", "README.md")
SYNSETS = ("n01440764", "n01443537")
TEN = tuple(f"class{number}" for number in range(10))


def write_image(path: Path, seed: int, channels: int = 3) -> None:
    """Smooth colours with some noise."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 4, channels), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(SIDES[::-1], Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = np.clip(smooth + random.integers(-20, 20, smooth.shape), 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy.astype(np.uint8)).save(path)


def write_folder(folder: Path, number: int, seed: int) -> None:
    for index in range(number):
        write_image(folder / f"{index}.jpg", seed * 1000 + index)


def write_labelled(folder: Path, names: tuple[str, ...], number: int, seed: int) -> None:
    """``number`` images in all, in one sub-folder per class."""
    for place, name in enumerate(names):
        write_folder(folder / name, number // len(names), seed + place)


def write_coco(root: Path, names: tuple[str, ...]) -> None:
    """COCO's folders and classes; two objects per image."""
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(names)]
    for split, number, seed in (("train2017", IMAGES, 1), ("val2017", 2, 2)):
        write_folder(root / split, number, seed)
        images = [
            dict(id=i, file_name=f"{i}.jpg", height=SIDES[0], width=SIDES[1]) for i in range(number)
        ]
        annotations = []
        for image in range(number):
            for kind, (x, y, w, h) in enumerate(((10, 10, 50, 40), (60, 30, 40, 50))):
                polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
                annotation = dict(image_id=image, category_id=kind + 1, iscrowd=0, area=w * h)
                annotation.update(bbox=[x, y, w, h], segmentation=[polygon])
                annotations.append(dict(annotation, id=len(annotations) + 1))
        path = root / f"annotations/instances_{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps(dict(images=images, annotations=annotations, categories=categories))
        )


def write_masks(images: Path, masks: Path, labels: list[int], number: int, seed: int) -> None:
    """Images, and masks in which every label has a rectangle."""
    write_folder(images, number, seed)
    masks.mkdir(parents=True)
    side = int(np.ceil(len(labels) ** 0.5))
    grid = np.resize(np.array(labels, dtype=np.uint8), (side, side))
    mask = Image.fromarray(grid).resize(SIDES[::-1], Image.Resampling.NEAREST)
    for index in range(number):
        mask.save(masks / f"{index}.png")


def write_packed(path: Path, number: int) -> None:
    """Images of ten classes in one ``.npz``, as :class:`~mmvitssl.datasets.PackedImages` reads."""
    random = np.random.default_rng(0)
    labels = np.arange(number) % 10
    files = []
    for label in labels:
        stream = io.BytesIO()
        pixels = random.integers(0, 56, (32, 32, 3)) + 20 * label
        Image.fromarray(pixels.astype(np.uint8)).save(stream, "JPEG")
        files.append(np.frombuffer(stream.getvalue(), np.uint8))
    offset = np.cumsum([0, *map(len, files)])
    np.savez(
        path, jpeg=np.concatenate(files), offset=offset, label=labels.astype(np.uint8),
        classes=np.array([str(i) for i in range(10)]),
    )  # fmt: skip


def write_data(root: Path) -> None:
    """Everything that the pages call by name below ``data/``."""
    from mmdet.datasets import CocoDataset

    data = root / "data"
    write_folder(data / "images", IMAGES, 0)
    write_folder(data / "photos", IMAGES, 0)
    for index in range(IMAGES):
        write_image(data / f"four-bands/{index}.png", index, channels=4)
    for name in ("imagenet", "small"):
        write_labelled(data / name / "train", SYNSETS, IMAGES, 10)
        write_labelled(data / name / "val", SYNSETS, 4, 20)
    write_labelled(root / "mine/train", TEN, 10, 30)
    write_labelled(root / "mine/val", TEN, 10, 40)
    write_coco(data / "coco", CocoDataset.METAINFO["classes"])
    write_coco(data / "mine", ("mug", "spoon"))
    for split, number in (("training", IMAGES), ("validation", 2)):
        ade = data / "ade/ADEChallengeData2016"
        write_masks(ade / "images" / split, ade / "annotations" / split, [*range(151)], number, 3)
    for split, number in (("train", IMAGES), ("val", 2), ("test", 2)):
        camvid = data / "camvid"
        labels = [*range(11), 255]
        write_masks(camvid / "images" / split, camvid / "annotations" / split, labels, number, 4)
    for name in ("cifar10", "cifar10_train", "cifar10_test"):
        write_packed(data / f"{name}.npz", 40)


def make_workspace(folder: Path) -> Path:
    """A checkout in which only ``configs/mine``, ``data`` and ``work_dirs`` can be written."""
    for name in LINKS:
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    for path in (ROOT / "configs").iterdir():
        (folder / "configs").mkdir(exist_ok=True)
        (folder / "configs" / path.name).symlink_to(path)
    (folder / "configs/mine").mkdir()
    write_data(folder)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Of the commands: the tests' interpreter, one thread, the code of this checkout."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "/usr/bin")])
    return {
        **os.environ,
        "PATH": path,
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
