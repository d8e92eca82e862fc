"""Images inside a zip or an uncompressed tar file, read where they lie."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from mmvitssl.datasets.files import (
    EXTENSIONS,
    UNREADABLE,
    check_bytes,
    describe,
    is_hidden,
    open_header,
)
from mmvitssl.datasets.images import SHOWN, BrokenImageError, ImageFiles, Transform
from mmvitssl.registry import DATASETS


class Archive:
    """Random access to the images of a zip or an uncompressed tar file.

    The file is opened in the process that reads.

    Args:
        path: of the archive.
        extensions: of the members that count as images, any case.

    Attributes:
        names: sorted names of the images; hidden members are left out.

    Raises:
        FileNotFoundError: there is no such file, or no image in it.
        BrokenImageError: it is no archive, is damaged, encrypted, or a compressed tar file, whose
            images cannot be read one by one.
    """

    def __init__(self, path: str | Path, extensions: Sequence[str] = EXTENSIONS) -> None:
        self.path = Path(path).expanduser()
        self._handle: Any = None
        self._owner = -1
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no archive {self.path.absolute()}.")
        wanted = tuple(extension.lower() for extension in extensions)
        self.is_zip = zipfile.is_zipfile(self.path)
        self._members = self._zip_members() if self.is_zip else self._tar_members()
        self.names = sorted(
            name
            for name in self._members
            if name.lower().endswith(wanted)
            and not any(is_hidden(part) for part in PurePosixPath(name).parts)
        )
        if not self.names:
            raise FileNotFoundError(
                f"The archive {self.path.absolute()} holds no image: looked in it for "
                f"{', '.join(wanted)}."
            )

    def _zip_members(self) -> dict[str, Any]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = [info for info in archive.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, *UNREADABLE) as error:
            raise BrokenImageError(f"The archive {self.path} cannot be read: {error}.") from error
        if any(info.flag_bits & 1 for info in members):
            raise BrokenImageError(f"The archive {self.path} is encrypted: unpack it.")
        return {info.filename: None for info in members}

    def _tar_members(self) -> dict[str, Any]:
        try:
            with tarfile.open(self.path, "r:") as archive:
                found = [member for member in archive if member.isfile()]
        except (tarfile.TarError, OSError) as error:
            if tarfile.is_tarfile(self.path):
                raise BrokenImageError(
                    f"The archive {self.path} is compressed, so that its images cannot be read "
                    f"one by one: unpack it (tar xf {self.path} -C FOLDER) and name the folder."
                ) from error
            raise BrokenImageError(
                f"{self.path} is no zip and no tar file: {describe(error)}."
            ) from error
        size = self.path.stat().st_size
        for member in found:
            if member.offset_data + member.size > size:
                raise BrokenImageError(f"The archive {self.path} ends within {member.name}.")
        return {member.name: (member.offset_data, member.size) for member in found}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_owner": -1}

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Raises:
            BrokenImageError: they cannot be read.
        """
        try:
            if self._owner != os.getpid():
                # a handle of the parent process shares its position with the parent
                self._handle = zipfile.ZipFile(self.path) if self.is_zip else self.path.open("rb")
                self._owner = os.getpid()
            if self.is_zip:
                check_bytes(self._handle.getinfo(name).file_size)
                content: bytes = self._handle.read(name)
            else:
                offset, size = self._members[name]
                content = os.pread(self._handle.fileno(), size, offset)
        except (zipfile.BadZipFile, *UNREADABLE) as error:
            raise BrokenImageError(
                f"The image {name} in {self.path} cannot be read ({describe(error)})."
            ) from error
        return content


@DATASETS.register_module()
class ImageArchive(ImageFiles):
    """The images of a zip or an uncompressed tar file, without unpacking it.

    Args:
        file: the archive.
        pipeline, max_broken, check: see :class:`ImageFiles`.
        skip: names of members that are left out.
        extensions: of the members that count as images, any case.

    Raises:
        FileNotFoundError: there is no such file, or no image in it.
        BrokenImageError: it cannot be read, or an image whose header cannot be read.
        ValueError: ``skip`` names what the archive does not hold.
    """

    def __init__(
        self,
        file: str,
        pipeline: Sequence[dict[str, Any] | Transform],
        max_broken: int = 0,
        check: int = 2000,
        skip: Sequence[str] = (),
        extensions: Sequence[str] = EXTENSIONS,
    ) -> None:
        self.archive = Archive(file, extensions)
        unknown = sorted(set(skip) - set(self.archive.names))
        if unknown:
            raise ValueError(
                f"ImageArchive.skip names {', '.join(unknown[:SHOWN])}, which {file} does not hold."
            )
        self.names = [name for name in self.archive.names if name not in set(skip)]
        paths = [f"{self.archive.path}/{name}" for name in self.names]
        super().__init__(paths, pipeline, max_broken, check=0)
        if not max_broken:
            self._check(check)

    def _check(self, most: int) -> None:
        """Raise BrokenImageError if one of ``most`` headers, evenly spread, cannot be read."""
        stride = max(1, -(-len(self.names) // most)) if most else len(self.names)
        for name in self.names[::stride] if most else ():
            try:
                open_header(BytesIO(self.archive.read(name))).verify()
            except UNREADABLE as error:
                raise BrokenImageError(
                    f"The image {name} in {self.archive.path} cannot be read ({describe(error)}). "
                    f"Leave it out with the dataset's skip, or allow for some with max_broken."
                ) from error

    def _source(self, index: int) -> BytesIO:
        return BytesIO(self.archive.read(self.names[index]))
