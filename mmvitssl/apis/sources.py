"""Looking at images before training on them: how many, how large, which are broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmvitssl.datasets.archives import Archive
from mmvitssl.datasets.decode import EncodedImage
from mmvitssl.datasets.files import (
    MAX_PIXELS,
    SHOWN,
    UNREADABLE,
    BrokenImageError,
    check_header,
    describe,
    list_images,
    open_header,
)
from mmvitssl.datasets.images import existing, read_lines
from mmvitssl.writing import write_text

MOST_HEADERS = 20_000  # more files are looked at evenly spread
MOST_DECODED = 300
LISTS = (".txt", ".lst", ".list")


@dataclass
class ImageSource:
    """What a path of images holds.

    Attributes:
        path: as the user named it.
        kind: 'folder', 'zip file', 'tar file', 'list' or 'image'.
        names: of the images: paths of files, or names inside of an archive.
        broken: what cannot be read, and why.
        widths, heights: in pixels, of the images that were looked at.
        modes: of their pixels, such as RGB, and how many have each.
        looked_at: how many headers were read.
        decoded: how many images were decoded.
        archive: the open archive; None: files.
    """

    path: Path
    kind: str
    names: list[str]
    broken: dict[str, str] = field(default_factory=dict)
    widths: list[int] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    modes: Counter[str] = field(default_factory=Counter)
    looked_at: int = 0
    decoded: int = 0
    archive: Archive | None = None

    @property
    def good(self) -> list[str]:
        """Names of the images that are not known to be broken."""
        return [name for name in self.names if name not in self.broken]

    @property
    def checked(self) -> bool:
        """Whether every image was decoded, so that no other can turn out to be broken."""
        return self.decoded + len(self.broken) >= len(self.names)

    @property
    def shorter_side(self) -> int:
        """Median of the shorter sides, in pixels."""
        return int(np.median(np.minimum(self.widths, self.heights)))

    def lines(self) -> list[str]:
        """What was found, for people."""
        short = np.minimum(self.widths, self.heights)
        modes = ", ".join(f"{number} {mode}" for mode, number in self.modes.most_common())
        part = "" if self.looked_at >= len(self.names) else f" (of {self.looked_at} looked at)"
        lines = [
            f"{len(self.names)} images in the {self.kind} {self.path}",
            f"shorter side {short.min()} to {short.max()} pixels, median {self.shorter_side}; "
            f"{modes}{part}",
        ]
        classes = class_folders(self)
        if classes:
            lines.append(
                f"{len(classes)} class folders: the health shows nearest neighbours of the same "
                f"class; the training does not see them"
            )
        if self.broken:
            shown = [f"{name} ({why})" for name, why in list(self.broken.items())[:SHOWN]]
            more = len(self.broken) - len(shown)
            lines.append(
                f"{len(self.broken)} cannot be read and are left out: {'; '.join(shown)}"
                + (f"; and {more} more" if more else "")
            )
        return lines


def _spread(names: Sequence[str], most: int) -> list[str]:
    """At most ``most`` names, evenly spread."""
    stride = max(1, -(-len(names) // most))
    return list(names[::stride])


def open_source(path: str | Path) -> ImageSource:
    """Find the images that a path stands for: a folder, an archive, a list or an image.

    Raises:
        FileNotFoundError: there is nothing there, or no image in it.
        BrokenImageError: an archive that cannot be read.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return ImageSource(path, "folder", list_images(path))
    if not path.exists():
        raise FileNotFoundError(
            f"There is nothing at {path.absolute()}: name a folder of images, a zip or tar file, "
            f"or a text file with one path per line."
        )
    if path.suffix.lower() in LISTS:
        lines = read_lines(path)
        try:
            names = existing(lines, path)
        except FileNotFoundError:  # relative paths start from the list's folder, or from here
            names = existing(lines, path, path.parent)
        return ImageSource(path, "list", names)
    try:
        check_header(path)
    except UNREADABLE:
        archive = Archive(path)
        kind = "zip file" if archive.is_zip else "tar file"
        return ImageSource(path, kind, archive.names, archive=archive)
    return ImageSource(path, "image", [str(path)])


def look(
    path: str | Path, most_headers: int = MOST_HEADERS, most_decoded: int = MOST_DECODED
) -> ImageSource:
    """Find images and look at them.

    Headers of up to ``most_headers`` images are read and ``most_decoded`` are decoded, both evenly
    spread over all.

    Raises:
        FileNotFoundError: there is nothing at the path, or no image in it.
        BrokenImageError: an archive that cannot be read, or no image that can be.
    """
    source = open_source(path)
    to_decode = set(_spread(source.names, most_decoded))
    names = _spread(source.names, most_headers)
    for name in [*names, *sorted(to_decode - set(names))]:
        try:
            _look_at(source, name, name in to_decode)
        except (BrokenImageError, *UNREADABLE) as error:
            source.broken[name] = _reason(error)
    if not source.widths:
        name, why = next(iter(source.broken.items()))
        raise BrokenImageError(
            f"None of the {source.looked_at + len(source.broken)} images looked at in {path} can "
            f"be read, such as {name}: {why}."
        )
    return source


def _reason(error: Exception) -> str:
    """Why an image is broken, without its name."""
    text = describe(error)
    start = text.find("cannot be read (")
    return text[start + len("cannot be read (") :].rstrip(").") if start >= 0 else text


def _look_at(source: ImageSource, name: str, decode: bool) -> None:
    data = None if source.archive is None else BytesIO(source.archive.read(name))
    if data is None:
        check_header(name)
    mode = _mode(name if data is None else data)
    if data is not None:
        data.seek(0)
    if decode or mode == "other":
        image = EncodedImage(name, data)
        image.decode()
        width, height = image.size
        source.decoded += 1
    else:
        with open_header(name if data is None else data, MAX_PIXELS) as header:
            width, height = header.size
    source.looked_at += 1
    source.widths.append(width)
    source.heights.append(height)
    source.modes[mode] += 1


def _mode(file: str | BytesIO) -> str:
    """Pillow's name for the pixels of a file; 'other' where Pillow does not read it."""
    try:
        with Image.open(file) as header:
            return str(header.mode)
    except UNREADABLE:
        return "other"


def dataset_config(source: ImageSource, out: Path, pipeline: Sequence[Any]) -> dict[str, Any]:
    """The config of the dataset of a source; broken files are left out by name.

    Class folders become labels, which the health of the training counts neighbours with.

    Args:
        source: that was looked at.
        out: folder for a list of the files that can be read, where some cannot.
        pipeline: of the dataset.
    """
    config: dict[str, Any]
    classes = class_folders(source)
    if source.archive is not None:
        config = dict(type="ImageArchive", file=str(source.path.absolute()))
        if source.broken:
            config["skip"] = sorted(source.broken)
    elif source.kind == "folder" and not source.broken:
        kind = "LabelledFolder" if classes else "ImageFolder"
        config = dict(type=kind, root=str(source.path.absolute()))
    else:
        file = out / "images.txt"
        lines = [str(Path(name).absolute()) for name in source.good]
        if classes:
            labels = [classes.index(Path(name).relative_to(source.path).parts[0])
                      for name in source.good]  # fmt: skip
            lines = [f"{line} {label}" for line, label in zip(lines, labels, strict=True)]
        write_text(file, "".join(f"{line}\n" for line in lines))
        config = dict(type="ImageList", ann_file=str(file.absolute()))
        if classes:
            config.update(labelled=True, classes=classes)
    if not source.checked:
        # some of the images that nobody looked at may be broken; each is logged by name
        config["max_broken"] = max(1, len(source.names) // 1000)
    return {**config, "pipeline": list(pipeline)}


def class_folders(source: ImageSource) -> list[str]:
    """Names of the class folders if a folder holds nothing but two or more of them."""
    if source.kind != "folder":
        return []
    parts = [Path(name).relative_to(source.path).parts for name in source.names]
    if any(len(part) < 2 for part in parts):
        return []
    classes = Counter(part[0] for part in parts)
    return sorted(classes) if len(classes) > 1 and min(classes.values()) > 1 else []
