"""Encoded images: the header first, the pixels when it is known how many of them are needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mmvitssl.datasets.files import (
    MAX_PIXELS,
    NUMPY,
    TIFF,
    UNREADABLE,
    BrokenImageError,
    check_bytes,
    check_pixels,
    describe,
    open_header,
    read_file,
)
from mmvitssl.datasets.libjpeg import ENDED_EARLY, libjpeg_heard
from mmvitssl.datasets.values import (
    ALPHA,
    DEEP,
    eight_bit_channels,
    select_channels,
    to_eight_bits,
)

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
MOST_OF_OPENCV = 2**30  # pixels
# TIFF tags, and values of them
BITS_PER_SAMPLE, SAMPLES_PER_PIXEL, SAMPLE_FORMAT, UNSIGNED = 258, 277, 339, 1
ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = 1, 2
REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def flipped(pixels: np.ndarray, code: int) -> np.ndarray:
    """(H, W, C) mirrored left to right (code 1) or upside down (0)."""
    return cv2.flip(pixels, code).reshape(pixels.shape)  # OpenCV drops a single channel


def transposed(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (W, H, C)."""
    return np.ascontiguousarray(pixels.swapaxes(0, 1))


@dataclass(frozen=True)
class Reduced:
    """An image that was decoded at 1/2, 1/4 or 1/8 of its size, and stands for all of it.

    Attributes:
        pixels: (h, w, C) uint8.
        width, height: of the image at full size.
        shrink: pixels of the full image per pixel of this one, in each direction.
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
                transposed(self.pixels), self.height, self.width, self.shrink, self.top,
                self.left,
            )  # fmt: skip
        rows, columns = result.pixels.shape[:2]
        if mirror:
            left = columns - result.left - result.width / self.shrink
            result = replace(result, pixels=flipped(result.pixels, 1), left=left)
        if upside_down:
            top = rows - result.top - result.height / self.shrink
            result = replace(result, pixels=flipped(result.pixels, 0), top=top)
        return result

    def cut(
        self, top: int, left: int, height: int, width: int
    ) -> tuple[np.ndarray, tuple[float, float, float, float]]:
        """The pixels that a box of the full image touches, and the box among them.

        Returns:
            (h, w, C) uint8, and left, upper, right and lower edge in its pixels.
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
    Pillow's detour over four bytes per pixel; what is no plain, complete JPEG is decoded by Pillow,
    which reports files that end early. What Pillow would cut to 8 bits or to three channels is
    read by OpenCV (PNG) or tifffile (TIFF), and ``.npy`` files of (H, W) or (H, W, C) by NumPy.

    Args:
        path: names the image in errors.
        source: an open file to read in place of the path.
        channels: of the result; see :func:`~mmvitssl.datasets.values.select_channels`.
        value_range: the values that become 0 and 255; None: as they are for 8 bits, guessed
            otherwise (:func:`~mmvitssl.datasets.values.guess_range`).
        max_pixels: the most pixels that are read; None: any number.

    Attributes:
        width, height: as the EXIF orientation says.
        shrinks: the reductions at which it can be decoded.

    Raises:
        BrokenImageError: the file cannot be read, is no image, or has too many pixels.
    """

    def __init__(
        self,
        path: str,
        source: BinaryIO | None = None,
        channels: int = 3,
        value_range: tuple[float, float] | None = None,
        max_pixels: int | None = MAX_PIXELS,
    ) -> None:
        self.path, self.channels, self.value_range = path, channels, value_range
        self._header: Image.Image | None = None
        self._values: np.ndarray | None = None
        self._turn = (False, False, False)
        self._jpeg: bytes | None = None
        try:
            data = read_file(path) if source is None else source.read()
            self._read(data, max_pixels)
        except UNREADABLE as error:
            raise self._broken(error) from error
        self.shrinks = tuple(REDUCED) if self._jpeg is not None else (1,)

    def _read(self, data: bytes, max_pixels: int | None) -> None:
        if data.startswith(NUMPY):
            self._values, self._alpha = numpy_values(data, self.channels), False
        else:
            try:
                self._header = open_header(BytesIO(data), max_pixels)
            except UnidentifiedImageError:
                if not data.startswith(TIFF):
                    raise
            if self._header is None or is_cut_by_pillow(self._header, data):
                self._values, self._alpha = deep_values(data, self._header, max_pixels)
        if self._values is not None:
            self.height, self.width = self._values.shape[:2]
            check_pixels(self.width, self.height, max_pixels)
        if self._header is None:
            return
        orientation = self._header.getexif().get(ORIENTATION, 1)
        # Pillow turns TIFFs by itself, and their size is the turned one
        if self._header.format != "TIFF" or self._values is not None:
            self._turn = TURNS.get(orientation, self._turn)
        size = self._header.size if self._values is None else self._values.shape[1::-1]
        self.width, self.height = size[::-1] if self._turn[0] else size
        plain = self._header.format == "JPEG" and self._header.mode in ("RGB", "L")
        whole = data.rstrip(b"\0").endswith(b"\xff\xd9")
        if plain and whole and self.channels in (1, 3) and size[0] * size[1] <= MOST_OF_OPENCV:
            self._jpeg = data

    def _broken(self, error: Exception) -> BrokenImageError:
        return BrokenImageError(f"The image {self.path} cannot be read ({describe(error)}).")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    def verify(self) -> None:
        """Decode all of the file, whatever its channels and values.

        Raises:
            BrokenImageError: it cannot be decoded.
        """
        if self._jpeg is not None:
            self.decode(self.shrinks[-1])
        elif self._values is None and self._header is not None:
            try:
                self._header.load()
            except UNREADABLE as error:
                raise self._broken(error) from error

    def pillow(self) -> Image.Image:
        """The image in RGB, or grey ('L') for one channel, turned as its EXIF orientation says.

        Raises:
            BrokenImageError: it cannot be decoded.
            ValueError: another number of channels.
        """
        if self.channels not in (1, 3):
            raise ValueError(f"Pillow has no images of {self.channels} channels that are no alpha.")
        if self._jpeg is not None and self.channels == 1:
            self.decode(self.shrinks[-1])  # which finds data that end early
        # OpenCV's grey is another one than Pillow's
        pixels = self._pixels() if self.channels == 1 else self.decode()
        assert isinstance(pixels, np.ndarray)  # at full size
        return Image.fromarray(pixels[..., 0] if self.channels == 1 else pixels)

    def decode(self, shrink: int = 1) -> np.ndarray | Reduced:
        """The pixels, (H, W, C) uint8 at full size, or reduced by libjpeg's scaled transform.

        Args:
            shrink: one of ``shrinks``.

        Raises:
            BrokenImageError: it cannot be decoded.
        """
        if self._jpeg is None:
            return self._pixels()
        assert self._header is not None
        flags = REDUCED[shrink] | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            with libjpeg_heard() as heard:
                pixels = cv2.imdecode(np.frombuffer(self._jpeg, dtype=np.uint8), flags)
            if pixels is None:
                raise ValueError("libjpeg finds no image in it")
            if any(ENDED_EARLY in line for line in heard):
                raise ValueError("its data end before the image does")
            cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
            if self.channels == 1:
                pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]
            pixels = to_eight_bits(pixels, self.value_range, self.path, self.channels)
        except UNREADABLE as error:
            raise self._broken(error) from error
        width, height = self._header.size
        reduced = Reduced(pixels, width, height, shrink).turned(*self._turn)
        return reduced.pixels if shrink == 1 else reduced

    def _pixels(self) -> np.ndarray:
        """(H, W, C) uint8, turned."""
        try:
            if self._values is not None:
                return self._from_values(self._values, self._alpha)
            assert self._header is not None
            image = ImageOps.exif_transpose(self._header)
            if image.mode in DEEP:
                self._turn = (False, False, False)  # done
                return self._from_values(np.asarray(image)[..., None], False)
            pixels = eight_bit_channels(image, self.channels, self.path)
            pixels = to_eight_bits(pixels, self.value_range, self.path, self.channels)
            return np.require(pixels, requirements=("C", "W"))
        except UNREADABLE as error:
            raise self._broken(error) from error

    def _from_values(self, values: np.ndarray, alpha: bool) -> np.ndarray:
        colours = values.shape[2] - alpha
        pixels = to_eight_bits(values, self.value_range, self.path, colours)
        pixels = select_channels(pixels, self.channels, alpha, self.path)
        height, width = pixels.shape[:2]
        pixels = Reduced(pixels, width, height, 1).turned(*self._turn).pixels
        return np.require(pixels, requirements=("C", "W"))


def numpy_values(data: bytes, channels: int) -> np.ndarray:
    """(H, W, B) of an ``.npy`` file.

    Raises:
        ValueError: an array of other dimensions, or pickled objects.
    """
    values = np.load(BytesIO(data), allow_pickle=False)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or not values.size:
        raise ValueError(f"an image has the shape (H, W) or (H, W, C), not {values.shape}")
    first, last = values.shape[0], values.shape[2]
    if first == channels != last:
        raise ValueError(
            f"channels come last, (H, W, C), but its shape is {values.shape}: transpose it"
        )
    return values


def is_cut_by_pillow(header: Image.Image, data: bytes) -> bool:
    """Whether Pillow would drop bits or bands of an image.

    It reads several channels of 16 bits, and bands beyond the third that are not alpha, so.
    """
    if header.format == "PNG":
        return data[24] == 16 and header.mode not in DEEP  # the bit depth in the file's header
    if header.format != "TIFF":
        return False
    tags = header.tag_v2  # type: ignore[attr-defined]
    bits, bands = tags.get(BITS_PER_SAMPLE, (1,)), tags.get(SAMPLES_PER_PIXEL, 1)
    kinds = tags.get(SAMPLE_FORMAT, (UNSIGNED,))
    palette = header.mode in ("P", "PA")
    if bands > len(header.getbands()) and not palette and header.mode != "1":
        return True
    deep_colours = bands > 1 and max(bits) > 8
    wraps = bands == 1 and ((max(bits) == 32 and kinds[0] == UNSIGNED)
                            or (max(bits) == 8 and kinds[0] != UNSIGNED))  # fmt: skip
    return deep_colours or wraps


def deep_values(
    data: bytes, header: Image.Image | None, max_pixels: int | None
) -> tuple[np.ndarray, bool]:
    """(H, W, B) values of a PNG or TIFF that Pillow would cut, and whether the last is alpha.

    Raises:
        Exception: one of UNREADABLE; no library reads it.
    """
    if header is not None and header.format == "PNG":
        values = opencv_values(data)
        alpha = header.mode in ALPHA
        # OpenCV has no images of grey and alpha
        return (values[..., [0, 3]] if header.mode == "LA" else values), alpha
    try:
        return tiff_values(data, max_pixels)
    except ModuleNotFoundError as error:
        try:
            return opencv_values(data), header is not None and header.mode in ALPHA
        except UNREADABLE:
            raise ValueError(f"reading it needs another package: {error}") from error
    except Image.DecompressionBombError:
        raise
    except UNREADABLE as error:
        try:  # tifffile leaves some kinds of compression to a package of its own
            return opencv_values(data), header is not None and header.mode in ALPHA
        except UNREADABLE:
            raise error from None


def opencv_values(data: bytes) -> np.ndarray:
    """(H, W, B) as OpenCV reads them, in the order red, green, blue, alpha."""
    values = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError("OpenCV finds no image in it")
    if values.ndim == 2:
        return values[..., None]
    order = [2, 1, 0, *range(3, values.shape[2])]
    return np.ascontiguousarray(values[..., order])


def tiff_values(data: bytes, max_pixels: int | None) -> tuple[np.ndarray, bool]:
    """(H, W, B) of a TIFF's first page, and whether the last band is alpha."""
    import tifffile

    try:
        with tifffile.TiffFile(BytesIO(data)) as file:
            page: Any = file.pages[0]
            check_pixels(page.imagewidth, page.imagelength, max_pixels)
            check_bytes(page.nbytes)  # with all its bands
            values, axes, extra = page.asarray(), page.axes, page.extrasamples
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error
    if axes == "SYX":
        values = np.ascontiguousarray(values.transpose(1, 2, 0))
    elif axes == "YX":
        values = values[..., None]
    elif axes != "YXS":
        raise ValueError(f"its axes are {axes}, not those of an image (YX, YXS or SYX)")
    return values, bool(extra) and extra[-1] in (ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA)
