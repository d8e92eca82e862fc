"""Many small images in one file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from mmvitssl.datasets.images import BrokenImageError, ImageFiles, Transform
from mmvitssl.registry import DATASETS

NEEDED = ("jpeg", "offset")


def _check_arrays(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Refuse arrays that do not belong together.

    Raises:
        BrokenImageError: names the array.
    """
    data, offset, label = arrays["jpeg"], arrays["offset"], arrays.get("label")
    whole = offset.ndim == 1 and len(offset) and np.issubdtype(offset.dtype, np.integer)
    wrong = (
        "jpeg" if data.dtype != np.uint8 or data.ndim != 1
        else "offset" if not whole or offset[0] < 0 or offset[-1] > len(data)
        or bool((np.diff(offset) < 0).any())
        else "label" if label is not None
        and (label.shape != (len(offset) - 1,) or not np.issubdtype(label.dtype, np.integer))
        else None
    )  # fmt: skip
    if wrong:
        raise BrokenImageError(
            f"{path} is damaged: its array '{wrong}' does not fit the others. Copy it again."
        )


@DATASETS.register_module()
class PackedImages(ImageFiles):
    """Encoded images, end to end in an ``.npz`` file, such as CIFAR-10 as JPEGs.

    The file holds ``jpeg`` (uint8, all files end to end), ``offset`` (n + 1 int64) and, where
    images have labels, ``label`` (n) and ``classes`` (names).

    Args:
        file: the ``.npz`` file.
        pipeline, max_broken: see :class:`ImageFiles`; ``LoadImage`` decodes.
        indices: (first image, the one after the last); None: all.
        stride: take every so many-th of them, which thins out all classes alike where a file is
            sorted by class.

    Raises:
        FileNotFoundError: there is no such file.
        BrokenImageError: it is no such file.
        ValueError: ``indices`` that the file does not have, or a stride below 1.
    """

    def __init__(
        self,
        file: str,
        pipeline: Sequence[dict[str, Any] | Transform],
        max_broken: int = 0,
        indices: Sequence[int] | None = None,
        stride: int = 1,
    ) -> None:
        path = Path(file).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"There is no file of packed images at {path.absolute()}.")
        try:
            with np.load(path, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
        except (
            ValueError,
            OSError,
            EOFError,
            KeyError,
            zlib.error,
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
            SyntaxError,
        ) as error:
            raise BrokenImageError(f"{path} is no .npz file of arrays: {error}") from error
        missing = [name for name in NEEDED if name not in arrays]
        if missing:
            raise BrokenImageError(f"{path} has no array {', '.join(missing)}; it has {[*arrays]}.")
        _check_arrays(arrays, path)
        first, last = (0, len(arrays["offset"]) - 1) if indices is None else indices
        if not 0 <= first < last < len(arrays["offset"]):
            number = len(arrays["offset"]) - 1
            raise ValueError(f"PackedImages.indices={indices}, but {path} has {number} images.")
        if stride < 1:
            raise ValueError(f"PackedImages.stride must be 1 or more, not {stride}.")
        self._bytes = arrays["jpeg"]
        self._numbers = np.arange(first, last, stride)
        self._offset = arrays["offset"]
        labels = arrays.get("label")
        self.labels = None if labels is None else labels[self._numbers].astype(np.int64)
        self.classes = [str(name) for name in arrays.get("classes", ())]
        names = [f"{path}#{number}" for number in self._numbers]
        super().__init__(names, pipeline, max_broken, check=0)

    def encoded(self, index: int) -> bytes:
        """The file of an image."""
        number = self._numbers[index]
        return self._bytes[self._offset[number] : self._offset[number + 1]].tobytes()

    def _source(self, index: int) -> BytesIO:
        return BytesIO(self.encoded(index))
