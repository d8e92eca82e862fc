"""The objects of the demo scenes: five classes told by shape and texture, of any colour."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from demo.photographs import read_photograph

CLASSES = ("ball", "box", "star", "ring", "leaf")
PALETTE = ((220, 80, 40), (60, 110, 220), (240, 200, 40), (50, 170, 90), (160, 80, 190))

SUPERSAMPLING = 3
# the photograph that a class's texture is cut out of; None: stripes
TEXTURES = {"ball": None, "box": "brick", "star": "gravel", "ring": "grass", "leaf": "chelsea"}
# of every class alike: colour says nothing of the class
SATURATION = (0.45, 1.0)
VALUE = (0.65, 0.95)


@dataclass(frozen=True)
class PlacedObject:
    """One object in the frame of its scene.

    Attributes:
        label: index into CLASSES.
        alpha: (H, W) float in [0, 1], coverage with soft edges.
        colour: (H, W, 3) float in [0, 1].
    """

    label: int
    alpha: np.ndarray
    colour: np.ndarray


def outline(name: str, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Vertices of a class's shape in the unit disc, before rotation."""
    if name in ("ball", "ring"):
        turns = np.linspace(0, 2 * math.pi, 64, endpoint=False)
        squeeze = rng.uniform(0.9, 1.0)
        return [(math.cos(t), squeeze * math.sin(t)) for t in turns]
    if name == "box":
        aspect = rng.uniform(0.75, 1.0)
        return [
            (-0.75, -0.75 * aspect),
            (0.75, -0.75 * aspect),
            (0.75, 0.75 * aspect),
            (-0.75, 0.75 * aspect),
        ]
    if name == "star":
        inner = rng.uniform(0.42, 0.5)
        radii = [1.0, inner] * 5
        return [
            (r * math.sin(math.pi * i / 5), -r * math.cos(math.pi * i / 5))
            for i, r in enumerate(radii)
        ]
    width = rng.uniform(0.4, 0.5)
    turns = np.linspace(-math.pi / 2, math.pi / 2, 24)
    right = [(width * math.cos(t), math.sin(t)) for t in turns]
    left = [(-x, y) for x, y in reversed(right)]
    return right + left


def coverage(
    name: str,
    size: int,
    centre: tuple[float, float],
    radius: float,
    angle: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """(size, size) float coverage of a shape, antialiased by supersampling."""
    big = size * SUPERSAMPLING
    cosine, sine = math.cos(angle), math.sin(angle)

    def place(points: list[tuple[float, float]], scale: float) -> list[tuple[float, float]]:
        return [
            (
                SUPERSAMPLING * (centre[0] + scale * (cosine * x - sine * y)),
                SUPERSAMPLING * (centre[1] + scale * (sine * x + cosine * y)),
            )
            for x, y in points
        ]

    points = outline(name, rng)
    canvas = Image.new("L", (big, big), 0)
    draw = ImageDraw.Draw(canvas)
    draw.polygon(place(points, radius), fill=255)
    if name == "ring":
        draw.polygon(place(points, radius * rng.uniform(0.45, 0.55)), fill=0)
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX), dtype=np.float32) / 255


def texture(name: str | None, size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size) luminance around 1, cut out of a photograph or striped."""
    if name is None:
        rows, columns = np.mgrid[0:size, 0:size] / size
        direction = rng.uniform(0, math.pi)
        wave = np.sin(
            (columns * math.cos(direction) + rows * math.sin(direction)) * rng.uniform(40, 70)
        )
        return (1 + 0.22 * np.sign(wave)).astype(np.float32)
    photograph = read_photograph(name)
    side = int(rng.uniform(0.4, 0.8) * min(photograph.shape[:2]))
    top = int(rng.integers(0, photograph.shape[0] - side + 1))
    left = int(rng.integers(0, photograph.shape[1] - side + 1))
    cut = Image.fromarray(photograph[top : top + side, left : left + side]).convert("L")
    values = np.asarray(cut.resize((size, size), Image.Resampling.BILINEAR), dtype=np.float32)
    return np.clip(1 + 0.9 * (values - values.mean()) / 255 * 2, 0.4, 1.6)


def shading(
    size: int, centre: tuple[float, float], radius: float, rng: np.random.Generator
) -> np.ndarray:
    """(size, size) light from one side, 1 on average over the object."""
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    direction = rng.uniform(0, 2 * math.pi)
    along = (columns - centre[0]) * math.cos(direction) + (rows - centre[1]) * math.sin(direction)
    return 1 + 0.25 * np.clip(along / radius, -1, 1)


def place_object(
    label: int,
    size: int,
    centre: tuple[float, float],
    radius: float,
    rng: np.random.Generator,
) -> PlacedObject:
    """Draw one object of a class.

    Args:
        label: index into CLASSES.
        size: side of the scene in pixels.
        centre: column and row in pixels.
        radius: in pixels.
        rng: of this object.
    """
    name = CLASSES[label]
    colour = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(*SATURATION), rng.uniform(*VALUE))
    alpha = coverage(name, size, centre, radius, rng.uniform(0, 2 * math.pi), rng)
    light = texture(TEXTURES[name], size, rng) * shading(size, centre, radius, rng)
    return PlacedObject(label, alpha, np.clip(np.asarray(colour) * light[..., None], 0, 1))
