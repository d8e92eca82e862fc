"""Demo data on disk: in the layouts of COCO, ADE20K and Cityscapes, and a folder to pretrain on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import Progress

from demo.objects import CLASSES
from demo.photographs import PHOTOGRAPHS
from demo.scenes import Scene, compose_closeup, compose_scene, generator
from mmvitssl.extras import require

QUALITY = 90
VERSION = 3
CLOSEUP = 1 / 3  # side of a close-up, of a scene's
# of Cityscapes' 19 classes, by train id: what each class of the demo, and what is behind, is called
CITY = "demo"
CITY_BACKGROUND = 9  # terrain
CITY_IDS = {"ball": 6, "box": 3, "star": 7, "ring": 5, "leaf": 8}  # light, wall, sign, pole, plants
CITY_BORDER = 2  # pixels without a label, as the rectified images of Cityscapes have
IGNORED = 255


@dataclass(frozen=True)
class DemoData:
    """What was asked for, which decides every byte.

    Attributes:
        train, val: number of scenes.
        pretrain: number of close-ups to pretrain on.
        seed: of everything.
        image_size: side of the scenes in pixels.
        cityscapes: whether the scenes are also there in Cityscapes' layout.
    """

    train: int
    val: int
    pretrain: int
    seed: int
    image_size: int
    cityscapes: bool = False
    version: int = VERSION

    def check(self) -> None:
        """Raise ValueError, naming the argument, for numbers that make no data set."""
        for name, least in (("train", 1), ("val", 1), ("pretrain", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} must be at least {least}, not {getattr(self, name)}.")
        if self.image_size < 64:
            raise ValueError(f"--image-size must be at least 64 pixels, not {self.image_size}.")


def _is_made(out: Path, wanted: DemoData) -> bool:
    """Whether the folder holds exactly this data set.

    Raises:
        FileExistsError: it holds another one, or something else.
    """
    record = out / "dataset.json"
    if not out.exists() or not any(out.iterdir()):
        return False
    if not record.is_file():
        raise FileExistsError(
            f"{out} is not empty and holds no finished demo data: choose another folder or remove "
            f"it."
        )
    made = json.loads(record.read_text())
    if DemoData(**made["made_with"]) != wanted:
        raise FileExistsError(
            f"{out} was made with {made['made_with']}, not {asdict(wanted)}: choose another folder "
            f"or remove it."
        )
    return all((out / name).is_file() for name in made["files"]) if made["complete"] else False


def coco_annotation(mask: np.ndarray, label: int, image_id: int, number: int) -> dict[str, Any]:
    """COCO's entry for one instance; the mask is run-length encoded (a ring has a hole)."""
    require("Writing COCO annotations", "demo", "pycocotools")
    from pycocotools import mask as coco_mask

    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "id": number,
        "image_id": image_id,
        "category_id": label + 1,
        "bbox": [float(value) for value in coco_mask.toBbox(encoded)],
        "area": float(coco_mask.area(encoded)),
        "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode()},
        "iscrowd": 0,
    }


def semantic_mask(scene: Scene) -> np.ndarray:
    """(H, W) uint8: 1 background, 2.. the classes; 0 would be ignored, as in ADE20K."""
    labels = np.ones(scene.image.shape[:2], dtype=np.uint8)
    for instance in scene.instances:
        labels[instance.mask] = instance.label + 2
    return labels


def city_mask(scene: Scene) -> np.ndarray:
    """(H, W) uint8 train ids of Cityscapes; 255 has no label."""
    labels = np.full(scene.image.shape[:2], CITY_BACKGROUND, dtype=np.uint8)
    for instance in scene.instances:
        labels[instance.mask] = CITY_IDS[CLASSES[instance.label]]
    inner = np.zeros(labels.shape, dtype=bool)
    inner[CITY_BORDER:-CITY_BORDER, CITY_BORDER:-CITY_BORDER] = True
    labels[~inner] = IGNORED
    return labels


def _write_city(out: Path, split: str, index: int, scene: Scene) -> Iterator[str]:
    """A scene and its labels as Cityscapes names them."""
    parts = {"leftImg8bit": scene.image, "gtFine": city_mask(scene)}
    for folder, pixels in parts.items():
        kind = "gtFine_labelTrainIds" if folder == "gtFine" else folder
        path = f"{folder}/{split}/{CITY}/{CITY}_{index:06d}_000000_{kind}.png"
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(out / path)
        yield path


def _write_split(out: Path, split: str, number: int, wanted: DemoData) -> Iterator[str]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for folder in ("images", "masks"):
        (out / folder / split).mkdir(parents=True, exist_ok=True)
    for index in range(number):
        scene = compose_scene(wanted.image_size, generator(wanted.seed, split, index))
        name = f"{index:05d}"
        jpeg, png = f"images/{split}/{name}.jpg", f"masks/{split}/{name}.png"
        Image.fromarray(scene.image).save(out / jpeg, quality=QUALITY)
        Image.fromarray(semantic_mask(scene)).save(out / png)
        height, width = scene.image.shape[:2]
        images.append(
            {"id": index + 1, "file_name": f"{name}.jpg", "height": height, "width": width}
        )
        for item in scene.instances:
            annotations.append(
                coco_annotation(item.mask, item.label, index + 1, len(annotations) + 1)
            )
        yield jpeg
        yield png
        if wanted.cityscapes:
            yield from _write_city(out, split, index, scene)
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    record = {"images": images, "annotations": annotations, "categories": categories}
    (out / "annotations").mkdir(exist_ok=True)
    path = f"annotations/instances_{split}.json"
    (out / path).write_text(json.dumps(record))
    yield path


def _write_closeups(out: Path, wanted: DemoData) -> Iterator[str]:
    names = [photograph.name for photograph in PHOTOGRAPHS if photograph.backdrop]
    size = round(CLOSEUP * wanted.image_size)
    for index in range(wanted.pretrain):
        name = names[index % len(names)]
        rng = generator(wanted.seed, "pretrain", index)
        path = f"pretrain/{name}/{index:05d}.jpg"
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        pixels = compose_closeup(name, size, wanted.image_size, rng)
        Image.fromarray(pixels).save(out / path, quality=QUALITY)
        yield path


def make_demo_data(
    out: str | Path,
    train: int,
    val: int,
    seed: int = 0,
    image_size: int = 224,
    pretrain: int = 0,
    quiet: bool = True,
    cityscapes: bool = False,
) -> DemoData:
    """Write a demo data set; nothing happens if it is there already.

    The same arguments give the same bytes, and image k does not depend on how many there are.

    Layout: ``images/{train,val}/*.jpg``, ``annotations/instances_{train,val}.json`` (COCO),
    ``masks/{train,val}/*.png`` (ADE20K's convention: 0 ignored, 1 background, 2.. the classes),
    ``pretrain/<photograph>/*.jpg`` (no labels), ``dataset.json``; with ``cityscapes`` also
    ``leftImg8bit/{train,val}/demo/*.png`` and ``gtFine/{train,val}/demo/*.png``, where the objects
    have the ids of some of Cityscapes' classes.

    Args:
        out: the folder.
        train, val: number of scenes.
        seed: of everything.
        image_size: side of a scene in pixels.
        pretrain: number of close-ups of one object each, without labels.
        quiet: show no progress.
        cityscapes: write the scenes in Cityscapes' layout, too.

    Raises:
        ValueError: numbers that make no data set.
        FileExistsError: the folder holds something else.
    """
    wanted = DemoData(train, val, pretrain, seed, image_size, cityscapes)
    wanted.check()
    out = Path(out)
    if _is_made(out, wanted):
        return wanted
    out.mkdir(parents=True, exist_ok=True)
    _record(out, wanted, [], complete=False)
    files: list[str] = []
    with Progress(disable=quiet) as progress:
        files_a_scene = 4 if cityscapes else 2
        total = files_a_scene * (train + val) + 2 + pretrain
        task = progress.add_task("demo data", total=total)
        for part in (
            _write_split(out, "train", train, wanted),
            _write_split(out, "val", val, wanted),
            _write_closeups(out, wanted),
        ):
            for name in part:
                files.append(name)
                progress.advance(task)
    _record(out, wanted, files, complete=True)
    return wanted


def _record(out: Path, wanted: DemoData, files: list[str], complete: bool) -> None:
    photographs = [asdict(photograph) for photograph in PHOTOGRAPHS]
    content = {
        "made_with": asdict(wanted),
        "classes": list(CLASSES),
        "photographs": photographs,
        "complete": complete,
        "files": files,
    }
    (out / "dataset.json").write_text(json.dumps(content, indent=1))
