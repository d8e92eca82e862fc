"""Recorded inputs, weights and outputs."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmvitssl.checkpoint.own_types import plain
from mmvitssl.checkpoint.safe import CheckpointError


@dataclass(frozen=True)
class Fixture:
    """An ``.npz`` file: ``state/<official key>``, inputs, outputs, and ``meta`` as JSON.

    Attributes:
        path: the file.
        meta: sizes, with the name of the method.
        state: the official state dict.
        arrays: inputs and outputs.
    """

    path: Path
    meta: dict[str, Any]
    state: dict[str, Tensor]
    arrays: dict[str, Tensor]

    @classmethod
    def load(cls, path: str | Path) -> Fixture:
        """Read a file; nothing in it is executed.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: it is no such file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no parity fixture at {path}.")
        try:
            with np.load(path, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise CheckpointError(f"{path} is no .npz file of plain arrays: {error}") from error
        if "meta" not in arrays:
            raise CheckpointError(f"{path} has no entry 'meta' with the sizes as JSON.")
        try:
            meta = json.loads(str(arrays.pop("meta")))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: its entry 'meta' is no JSON: {error}") from error
        meta = plain(meta, f"{path}: its entry 'meta'")
        if not isinstance(meta, dict):
            raise CheckpointError(f"{path}: its entry 'meta' is no dict.")
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        state = {k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")}
        rest = {k: v for k, v in tensors.items() if not k.startswith("state/")}
        return cls(path, meta, state, rest)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.arrays:
            raise CheckpointError(
                f"{self.path} has no array '{name}'; it has {sorted(self.arrays)}."
            )
        return self.arrays[name]

    def size(self, name: str) -> Any:
        """An entry of ``meta``."""
        if name not in self.meta:
            raise CheckpointError(f"The meta of {self.path} has no '{name}': {self.meta}.")
        return self.meta[name]
