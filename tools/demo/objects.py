"""The objects of the demo scenes: five classes told by shape and texture, of any colour."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from demo.photographs import read_photograph

CLASSES = ("ball", "box", "star", "ring", "leaf")
PALETTE = ((220, 80, 40), (60, 110, 220), (240, 200, 40), (50, 170, 90), (160, 80, 190))

SUPERSAMPLING = 3
# what a class's texture is: drawn, or the photograph it is cut out of and its side in scenes
DRAWN = {"ball": "stripes", "leaf": "checks"}
CUT = {"box": ("brick", 1.8), "star": ("gravel", 3.2), "ring": ("grass", 2.2)}
CONTRAST = 0.24  # standard deviation of every texture's luminance
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


def _drawn_texture(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size) stripes or checks with 14 to 20 periods per side, in any direction."""
    rows, columns = np.mgrid[0:size, 0:size] / size
    turn = rng.uniform(0, math.pi)
    pitch = 2 * math.pi * rng.uniform(14, 20)
    phases = rng.uniform(0, 2 * math.pi, size=2)
    across = np.sin(pitch * (columns * math.cos(turn) + rows * math.sin(turn)) + phases[0])
    if kind == "stripes":
        return across
    along = np.sin(pitch * (rows * math.cos(turn) - columns * math.sin(turn)) + phases[1])
    return 2 * across * along


@cache
def _luminance(name: str, side: int) -> Image.Image:
    """A square photograph's luminance, ``side`` pixels wide."""
    whole = Image.fromarray(read_photograph(name)).convert("L")
    return whole.resize((side, side), Image.Resampling.BOX)


def _cut_texture(name: str, scale: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size) cut out of a photograph that is ``scale`` scenes wide, turned by any angle."""
    side = round(scale * size)
    zoom, angle = rng.uniform(0.8, 1.2), rng.uniform(0, 2 * math.pi)
    reach = min(size / zoom / math.sqrt(2), side / 2)
    column, row = rng.uniform(reach, side - reach, size=2)
    cosine, sine, half = math.cos(angle) / zoom, math.sin(angle) / zoom, size / 2
    affine = (
        cosine, -sine, column - (cosine - sine) * half,
        sine, cosine, row - (sine + cosine) * half,
    )  # fmt: skip
    cut = _luminance(name, side).transform(
        (size, size), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
    )
    return np.asarray(cut, dtype=np.float32)


def texture(name: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size) luminance of a class's texture, 1 on average; size: side of the scene."""
    if name in DRAWN:
        values = _drawn_texture(DRAWN[name], size, rng)
    else:
        values = _cut_texture(*CUT[name], size, rng)
    values = (values - values.mean()) / values.std()
    return (1 + CONTRAST * np.clip(values, -2, 2)).astype(np.float32)


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
    light = texture(name, size, rng) * shading(size, centre, radius, rng)
    return PlacedObject(label, alpha, np.clip(np.asarray(colour) * light[..., None], 0, 1))
