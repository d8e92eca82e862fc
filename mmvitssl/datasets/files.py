"""Image files on disk: which ones a folder holds, and what counts as broken."""

from __future__ import annotations

import errno
import lzma
import os
import stat
import struct
import time
import tokenize
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image, UnidentifiedImageError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
SHOWN = 5
MAX_PIXELS = 178_956_970  # above twice its MAX_IMAGE_PIXELS, Pillow refuses an image
MAX_BYTES = 2**31  # of an encoded image, and of its values
NUMPY, TIFF = b"\x93NUMPY", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# of network storage, archives, Windows, Linux and Python, in lower case
SYSTEM_FOLDERS = (
    "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "__macosx",
    "$recycle.bin", "system volume information", "lost+found", "__pycache__",
)  # fmt: skip
# what Pillow, OpenCV, NumPy and tifffile raise for files that are damaged, or no images
UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    struct.error,
    tokenize.TokenError,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    cv2.error,
)


# errors of network file systems and failing disks, after which a file may be read again
PASSING = (
    errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EBUSY, errno.ENETDOWN,
    errno.ENETUNREACH, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTDOWN, errno.EREMOTEIO,
)  # fmt: skip
WAITS = (0.1, 1.0, 5.0)  # seconds between the attempts


class BrokenImageError(RuntimeError):
    """An image that cannot be read, with its path."""


def describe(error: Exception) -> str:
    """The kind of an error and its first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def check_bytes(size: int) -> None:
    """Raise DecompressionBombError for more bytes than an image file, or its values, may have."""
    if size > MAX_BYTES:
        raise Image.DecompressionBombError(f"{size} bytes are more than {MAX_BYTES}: no image")


def check_file(path: str | Path) -> None:
    """Raise OSError unless a path leads to a regular file that is not empty.

    Reading from a pipe or a device could wait for ever, and a file of holes fill the memory.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "folder" if stat.S_ISDIR(status.st_mode) else "pipe, socket or device"
        raise OSError(f"it is a {kind}, not a file")
    if not status.st_size:
        raise OSError("the file has 0 bytes")
    check_bytes(status.st_size)


def read_file(path: str | Path) -> bytes:
    """The bytes of an image file.

    Errors of a network or a disk that pass are waited for, three times and longer each time.

    Raises:
        OSError: it cannot be read, is empty, or is no regular file.
    """
    for wait in (*WAITS, None):
        try:
            check_file(path)
            return Path(path).read_bytes()
        except OSError as error:
            if wait is None or error.errno not in PASSING:
                raise
            time.sleep(wait)
    raise AssertionError("unreachable")


def check_pixels(width: int, height: int, max_pixels: int | None) -> None:
    """Raise DecompressionBombError for an image of more than ``max_pixels``."""
    if max_pixels is not None and width * height > max_pixels:
        raise Image.DecompressionBombError(
            f"{width} x {height} pixels are more than max_pixels={max_pixels}: a decompression "
            f"bomb; to read images of this size, raise LoadImage.max_pixels"
        )


def open_header(source: str | Path | BinaryIO, max_pixels: int | None = MAX_PIXELS) -> Image.Image:
    """Open an encoded image with Pillow, which reads its header.

    Args:
        source: the file, or its path.
        max_pixels: the most pixels that are accepted; None: any number.

    Raises:
        DecompressionBombError: it has more pixels.
        Exception: one of UNREADABLE; the data are no image.
    """
    pillow_limit = Image.MAX_IMAGE_PIXELS
    if pillow_limit is not None and (max_pixels is None or max_pixels > 2 * pillow_limit):
        Image.MAX_IMAGE_PIXELS = max_pixels  # of the whole process: ours is tested below
    try:
        image = Image.open(source)
    except Image.DecompressionBombError as error:
        raise Image.DecompressionBombError(
            f"{error} To read images of this size, raise LoadImage.max_pixels"
        ) from error
    if image.format == "EPS":
        raise UnidentifiedImageError("it is PostScript, a program, which is not run")
    check_pixels(*image.size, max_pixels)
    return image


def check_header(path: str | Path, max_pixels: int | None = MAX_PIXELS) -> None:
    """Read the header of an image file.

    Raises:
        Exception: one of UNREADABLE; it is no image that can be read.
    """
    check_file(path)
    with open(path, "rb") as file:
        start = file.read(len(NUMPY))
    if start == NUMPY:
        np.load(path, mmap_mode="r", allow_pickle=False)
        return
    try:
        with open_header(path, max_pixels) as image:
            image.verify()
    except UnidentifiedImageError:
        # kinds of TIFF that Pillow does not know are read by other libraries
        if not start.startswith(TIFF):
            raise


def check_headers(paths: Sequence[str], most: int, max_pixels: int | None = MAX_PIXELS) -> None:
    """Open up to ``most`` files, evenly spread, and read their headers.

    Raises:
        BrokenImageError: names the files that are not images.
    """
    stride = max(1, -(-len(paths) // most)) if most else 0
    broken = []
    for path in paths[::stride] if stride else ():
        try:
            check_header(path, max_pixels)
        except UNREADABLE as error:
            broken.append(f"{path} ({describe(error)})")
    if broken:
        raise BrokenImageError(
            f"{len(broken)} image(s) cannot be read: {'; '.join(broken[:SHOWN])}. Remove or mend "
            f"them, or allow for some with the dataset's max_broken."
        )


def is_hidden(name: str) -> bool:
    """Whether editors and systems keep a file or folder of this name for themselves."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def _is_loop(link: str, root: str) -> bool:
    """Whether a link below ``root`` leads to a folder that it lies in, through other links too."""
    target, place = os.path.realpath(link), link
    while place != root:
        place = os.path.dirname(place)
        above = os.path.realpath(place)
        if os.path.commonpath([target, above]) == target:
            return True
    return False


def _walk(root: Path, wanted: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    """Files below a folder that count as images, hidden names and loops of links."""
    found: list[str] = []
    hidden: list[str] = []
    loops: list[str] = []
    for folder, names, files in os.walk(root, followlinks=True):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if is_hidden(name):
                hidden.append(path)
            elif os.path.islink(path) and _is_loop(path, str(root)):
                loops.append(path)
            elif name.lower().endswith(wanted) and not os.listdir(path):
                found.append(path)  # an empty folder with an image's name, which is a broken one
            else:
                continue
            names.remove(name)
        for name in files:
            if name.lower().endswith(wanted):
                (hidden if is_hidden(name) else found).append(os.path.join(folder, name))
    return found, hidden, loops


def list_images(root: str | Path, extensions: Sequence[str] = EXTENSIONS) -> list[str]:
    """Sorted paths of the images below a folder, links followed.

    Hidden files and folders (``.ipynb_checkpoints``, ``@eaDir``, ``__MACOSX`` ...) and links that
    lead back to a folder above them are left out, which is logged.

    Raises:
        FileNotFoundError: there is no such folder, or no image in it.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(
            f"There is no folder {root.absolute()}: set the dataset's root (data_root in the "
            f"config) to your folder of images."
        )
    wanted = tuple(extension.lower() for extension in extensions)
    found, hidden, loops = _walk(root, wanted)
    for paths, kind in ((hidden, "hidden"), (loops, "links to a folder that they lie in")):
        if paths:
            log_left_out(root, paths, kind)
    if not found:
        skipped = f" ({len(hidden)} hidden files or folders were left out)" if hidden else ""
        raise FileNotFoundError(
            f"The folder {root.absolute()} holds no image: looked below it for "
            f"{', '.join(wanted)}{skipped}. Files of other names are read from a text file that "
            f"lists them, a path per line."
        )
    return sorted(found)


def log_left_out(root: Path, paths: Sequence[str], kind: str) -> None:
    """Log files or folders below ``root`` that are not read."""
    print_log(
        f"Left out of {root}: {len(paths)} files or folders ({kind}), such as "
        f"{', '.join(paths[:SHOWN])}.",
        logger="current",
        level=30,
    )
