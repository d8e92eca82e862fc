"""Composition of scenes: a photograph behind, shadows, objects in front of each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from demo.objects import CLASSES, PlacedObject, place_object
from demo.photographs import PHOTOGRAPHS, read_photograph

SPLITS = ("train", "val", "pretrain")
LEAST_VISIBLE = 0.5
RADII = (0.3, 0.42)  # of the side of a scene
CLOSEUP_RADII = (0.45, 0.65)


@dataclass(frozen=True)
class Instance:
    """A labelled object of a scene.

    Attributes:
        label: index into CLASSES.
        mask: (H, W) bool, the part that can be seen.
    """

    label: int
    mask: np.ndarray


@dataclass(frozen=True)
class Scene:
    """An image, (H, W, 3) uint8, and its instances from back to front."""

    image: np.ndarray
    instances: tuple[Instance, ...]


def generator(seed: int, split: str, index: int) -> np.random.Generator:
    """The randomness of one image: of nothing but (seed, split, index)."""
    return np.random.default_rng([seed, SPLITS.index(split), index])


def cut_photograph(name: str, height: int, width: int, rng: np.random.Generator) -> Image.Image:
    """A random part of a photograph, perhaps mirrored, at the given size."""
    photograph = read_photograph(name)
    rows, columns = photograph.shape[:2]
    share = rng.uniform(0.45, 1.0)
    scale = share * min(rows / height, columns / width)
    h, w = max(1, int(height * scale)), max(1, int(width * scale))
    top, left = int(rng.integers(0, rows - h + 1)), int(rng.integers(0, columns - w + 1))
    cut = Image.fromarray(photograph[top : top + h, left : left + w])
    cut = cut.resize((width, height), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return ImageEnhance.Brightness(cut).enhance(float(rng.uniform(0.7, 1.1)))


def _shadow(alpha: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W) factor on the light behind an object."""
    offset = rng.uniform(0.06, 0.16, size=2) * radius * rng.choice([-1, 1], size=2)
    moved = np.roll(alpha, offset.astype(int), axis=(0, 1))
    soft = Image.fromarray((moved * 255).astype(np.uint8))
    soft = soft.filter(ImageFilter.GaussianBlur(radius * 0.12))
    return 1 - 0.45 * np.asarray(soft, dtype=np.float32) / 255


def _objects(size: int, rng: np.random.Generator) -> list[tuple[PlacedObject, float]]:
    """Objects from back to front with their radii, redrawn where too little stays visible."""
    number = int(rng.integers(1, 3))
    placed: list[tuple[PlacedObject, float]] = []
    for _ in range(12 * number):
        if len(placed) == number:
            break
        radius = rng.uniform(*RADII) * size
        centre = rng.uniform(0.8 * radius, size - 0.8 * radius, size=2)
        label = int(rng.integers(len(CLASSES)))
        candidate = place_object(label, size, (centre[0], centre[1]), radius, rng)
        trial = [*placed, (candidate, radius)]
        if min(_visible_shares([item for item, _ in trial])) >= LEAST_VISIBLE:
            placed = trial
    return placed


def visible_masks(objects: list[PlacedObject]) -> list[np.ndarray]:
    """(H, W) bool of each object, less what stands in front of it."""
    masks = [item.alpha >= 0.5 for item in objects]
    covered = np.zeros_like(masks[0])
    visible = []
    for mask in reversed(masks):
        visible.append(mask & ~covered)
        covered |= mask
    return visible[::-1]


def _visible_shares(objects: list[PlacedObject]) -> list[float]:
    visible = visible_masks(objects)
    whole = [item.alpha >= 0.5 for item in objects]
    return [float(v.sum() / max(w.sum(), 1)) for v, w in zip(visible, whole, strict=True)]


def _paste(
    image: np.ndarray, item: PlacedObject, radius: float, rng: np.random.Generator
) -> np.ndarray:
    """An object and its shadow in front of an image, (H, W, 3) in [0, 1]."""
    image = image * _shadow(item.alpha, radius, rng)[..., None]
    return image * (1 - item.alpha[..., None]) + item.colour * item.alpha[..., None]


def _exposed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 of an image in [0, 1], with a camera's noise."""
    noise = rng.normal(0, 0.012, size=image.shape)
    return (np.clip(image + noise, 0, 1) * 255).round().astype(np.uint8)


def compose_closeup(photograph: str, size: int, scene: int, rng: np.random.Generator) -> np.ndarray:
    """A close-up of one object, whose texture is as coarse as in the scenes, without a label.

    The middle of the picture is a random point of the object.

    Args:
        photograph: name of the one behind.
        size: side in pixels, at most ``scene``.
        scene: side of the scenes in pixels.
        rng: of this image.

    Returns:
        (size, size, 3) uint8.
    """
    image = np.asarray(cut_photograph(photograph, scene, scene, rng), dtype=np.float32) / 255
    radius = rng.uniform(*CLOSEUP_RADII) * scene
    label = int(rng.integers(len(CLASSES)))
    item = place_object(label, scene, (scene / 2, scene / 2), radius, rng)
    inside = np.argwhere(item.alpha >= 0.5)
    middle = inside[rng.integers(len(inside))]
    top, left = (np.clip(middle - size // 2, 0, scene - size)).tolist()
    image = _paste(image, item, radius, rng)
    return _exposed(image[top : top + size, left : left + size], rng)


def compose_scene(size: int, rng: np.random.Generator) -> Scene:
    """A square scene of ``size`` pixels with one or two objects."""
    names = [photograph.name for photograph in PHOTOGRAPHS if photograph.backdrop]
    backdrop = cut_photograph(str(rng.choice(names)), size, size, rng)
    image = np.asarray(backdrop, dtype=np.float32) / 255
    objects = _objects(size, rng)
    for item, radius in objects:
        image = _paste(image, item, radius, rng)
    pixels = _exposed(image, rng)
    masks = visible_masks([item for item, _ in objects])
    instances = tuple(
        Instance(item.label, mask) for (item, _), mask in zip(objects, masks, strict=True)
    )
    return Scene(pixels, instances)
