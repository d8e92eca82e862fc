"""Looking at some of a data set's images in little time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image, UnidentifiedImageError

from mmvitssl.engine.dataset_tree import spread
from mmvitssl.engine.launch import UserError

HEADERS = 1000  # files of a data set whose headers are read
DECODED = 64  # files that are decoded
SECONDS = 10.0  # after which no further file is looked at
ORIENTATION = 0x0112  # EXIF; values from 5 on exchange height and width
Entry = TypeVar("Entry")


def sample(entries: Sequence[Entry], limit: int) -> Iterator[Entry]:
    """Entries evenly spaced, ``limit`` at most, until :data:`SECONDS` are over."""
    end = time.monotonic() + SECONDS
    for count, index in enumerate(spread(len(entries), limit)):
        if count and time.monotonic() > end:
            return
        yield entries[index]


def header(path: str | Path) -> tuple[int, int, str, bool] | None:
    """Height, width and mode of the stored image, and whether EXIF turns it by 90 degrees.

    None of a format that Pillow does not know.

    Raises:
        UserError: there is no such file.
    """
    if not Path(path).is_file():
        raise UserError(f"There is no file {path}, which the data set names.")
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(ORIENTATION, 1) >= 5
            return image.height, image.width, image.mode, turned
    except (UnidentifiedImageError, OSError, SyntaxError):
        return None


def decoded_size(load: Callable[[dict[str, Any]], Any] | None, path: str) -> tuple[int, int]:
    """Height and width as the pipeline sees them.

    Args:
        load: the pipeline's first transform.
        path: of the image.

    Raises:
        UserError: the file cannot be decoded.
    """
    try:
        loaded = load({"img_path": path}) if load is not None else None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path} cannot be decoded: {type(error).__name__}: {error}.") from error
    if loaded is None or loaded.get("img") is None:
        raise UserError(f"{path} cannot be decoded.")
    return tuple(loaded["img"].shape[:2])


def size_or_none(load: Any, path: str, expected: tuple[int, int]) -> tuple[int, int] | None:
    """The size of an image where it is not ``expected``; decodes it only if the header says so."""
    found = header(path)
    if found is not None and found[:2] == expected and not found[3]:
        return None
    size = decoded_size(load, path)
    return None if size == expected else size


def turned_by_exif(path: str) -> bool:
    """Whether EXIF turns an image by 90 degrees."""
    found = header(path)
    return found is not None and found[3]
