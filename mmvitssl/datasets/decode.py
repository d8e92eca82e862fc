"""Encoded images: the header first, the pixels when it is known how many of them are needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps

from mmvitssl.datasets.images import UNREADABLE, BrokenImageError

ORIENTATION = 0x0112  # the EXIF tag
# by orientation: whether to transpose, then to mirror left to right, then upside down
TURNS = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: transparent pixels become white, 16 bits are scaled to 8."""
    if image.mode in ("I;16", "I;16B", "I", "F"):
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if values.max() > 255 else 255.0
        image = Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(canvas, image)
    return image.convert("RGB")


@dataclass(frozen=True)
class Reduced:
    """An image that was decoded at 1/2, 1/4 or 1/8 of its size, and stands for all of it.

    Attributes:
        pixels: (h, w, 3) uint8.
        width, height: of the image at full size.
        shrink: pixels of the full image a pixel of this one, in each direction.
        left, top: where the full image begins, in pixels of this one; below 0 never, and not 0
            only where a mirrored image begins within its last, incomplete pixel.
    """

    pixels: np.ndarray
    width: int
    height: int
    shrink: int
    left: float = 0.0
    top: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height at full size."""
        return self.width, self.height

    def turned(self, transpose: bool, mirror: bool, upside_down: bool) -> Reduced:
        """Transposed, then mirrored left to right, then upside down."""
        result = self
        if transpose:
            result = Reduced(
                cv2.transpose(self.pixels), self.height, self.width, self.shrink, self.top,
                self.left,
            )  # fmt: skip
        rows, columns = result.pixels.shape[:2]
        if mirror:
            left = columns - result.left - result.width / self.shrink
            result = replace(result, pixels=cv2.flip(result.pixels, 1), left=left)
        if upside_down:
            top = rows - result.top - result.height / self.shrink
            result = replace(result, pixels=cv2.flip(result.pixels, 0), top=top)
        return result

    def cut(
        self, top: int, left: int, height: int, width: int
    ) -> tuple[np.ndarray, tuple[float, float, float, float]]:
        """The pixels that a box of the full image touches, and the box among them.

        Returns:
            (h, w, 3) uint8, and left, upper, right and lower edge in its pixels.
        """
        rows, columns = self.pixels.shape[:2]
        x, y = self.left + left / self.shrink, self.top + top / self.shrink
        right, below = x + width / self.shrink, y + height / self.shrink
        x0, y0 = int(x), int(y)
        x1, y1 = min(columns, -int(-right // 1)), min(rows, -int(-below // 1))
        box = (x - x0, y - y0, min(right - x0, x1 - x0), min(below - y0, y1 - y0))
        return self.pixels[y0:y1, x0:x1], box


class EncodedImage:
    """An image whose header was read.

    JPEGs are decoded by OpenCV, whose libjpeg-turbo gives the pixels that Pillow's gives, without
    Pillow's detour over four bytes a pixel; what is no plain, complete JPEG is decoded by Pillow,
    which reports files that end early.

    Args:
        path: names the image in errors.
        source: an open file to read in place of the path.

    Attributes:
        width, height: as the EXIF orientation says.
        shrinks: the reductions at which it can be decoded.

    Raises:
        BrokenImageError: the file cannot be read, or is no image.
    """

    def __init__(self, path: str, source: BinaryIO | None = None) -> None:
        self.path = path
        try:
            data = Path(path).read_bytes() if source is None else source.read()
            self._header = Image.open(BytesIO(data))
            orientation = self._header.getexif().get(ORIENTATION, 1)
        except UNREADABLE as error:
            raise self._broken(error) from error
        self._turn = TURNS.get(orientation, (False, False, False))
        size = self._header.size
        self.width, self.height = size[::-1] if self._turn[0] else size
        plain = self._header.format == "JPEG" and self._header.mode in ("RGB", "L")
        self._jpeg = data if plain and data.rstrip(b"\0").endswith(b"\xff\xd9") else None
        self.shrinks = tuple(REDUCED) if self._jpeg is not None else (1,)

    def _broken(self, error: Exception) -> BrokenImageError:
        return BrokenImageError(
            f"The image {self.path} cannot be read ({type(error).__name__}: {error})."
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    def pillow(self) -> Image.Image:
        """The image in RGB, turned as its EXIF orientation says.

        Raises:
            BrokenImageError: it cannot be decoded.
        """
        try:
            return to_rgb(ImageOps.exif_transpose(self._header))
        except UNREADABLE as error:
            raise self._broken(error) from error

    def decode(self, shrink: int = 1) -> np.ndarray | Reduced:
        """The pixels, (H, W, 3) uint8 at full size, or reduced by libjpeg's scaled transform.

        Args:
            shrink: one of ``shrinks``.

        Raises:
            BrokenImageError: it cannot be decoded.
        """
        if self._jpeg is None:
            return np.array(self.pillow())
        flags = REDUCED[shrink] | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            pixels = cv2.imdecode(np.frombuffer(self._jpeg, dtype=np.uint8), flags)
            if pixels is None:
                raise ValueError("libjpeg finds no image in it")
        except (cv2.error, ValueError) as error:
            raise self._broken(error) from error
        width, height = self._header.size
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
        reduced = Reduced(pixels, width, height, shrink).turned(*self._turn)
        return reduced.pixels if shrink == 1 else reduced
