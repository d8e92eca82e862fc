"""The weights of any file that is known here, with this package's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from mmvitssl.checkpoint.entries import (
    MMENGINE_RAW,
    averaged_entries,
    averaged_weights,
    some,
    state_dict_of,
    unwrap,
)
from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.formats import recognise
from mmvitssl.checkpoint.formats.base import Format
from mmvitssl.checkpoint.plausible import implausible
from mmvitssl.checkpoint.safe import load_file

PARTS = {"online": "encoder.", "target": "target.modules_by_name.encoder."}
SOURCES = (*PARTS, "ema")
PREDICTOR = re.compile(r"tasks\.[^.]+\.neck\.pred\.weight")
DINO_CENTRE = re.compile(r"tasks\.[^.]+\.head\.center")


@dataclass(frozen=True)
class NamedWeights:
    """The weights of a file with this package's names.

    Attributes:
        state: tensors by name.
        origin: format they had; None: this package's, or none that is known.
        carried: their tensors without a name here, with the reason.
        outside: keys beside the module that was wrapped.
        notes: what was taken off or chosen.
    """

    state: dict[str, Tensor]
    origin: Format | None = None
    carried: dict[str, str] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """The format, for messages; empty for this package's."""
        return "" if self.origin is None else f" ({self.origin.words})"


def named_weights(
    content: Mapping[str, Any],
    path: str | Path,
    ema: bool = False,
    grid: tuple[int, int] | None = None,
) -> NamedWeights:
    """Give the weights of any file that is known here this package's names.

    Args:
        content: of the file.
        path: of the file, for messages.
        ema: whether averaged weights are wanted.
        grid: of the encoder that reads them; see :meth:`Format.import_state`.

    Raises:
        CheckpointError: the file holds no weights, several encoders, or keys that its format does
            not know.
    """
    state, notes = _entry(content, path, ema)
    try:
        bare = unwrap(state, lambda state: recognise(state) is not None)
        notes += bare.words()
        origin = recognise(bare.state)
        if origin is None:
            _refuse_transformers(bare.state)
            return NamedWeights(bare.state, None, {}, bare.outside, notes)
        imported = origin.import_state(bare.state, grid)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return NamedWeights(imported.state, origin, imported.reasons, bare.outside, notes)


def _refuse_transformers(state: Mapping[str, Tensor]) -> None:
    """Say what a file in a layout of transformers without a format is.

    Raises:
        CheckpointError: it is one.
    """
    if any("embeddings.patch_embeddings.projection." in key for key in state):
        raise CheckpointError(
            "The file is in a layout of Hugging Face transformers that is not known here; known "
            "are ViT, ViTMAE and DINOv2, as model.save_pretrained(FOLDER) writes them to "
            "model.safetensors (version 5 has other names in memory, which torch.save of a "
            f"state_dict keeps). Its first keys are {sorted(state)[:4]}."
        )


def _entry(
    content: Mapping[str, Any], path: str | Path, ema: bool
) -> tuple[dict[str, Tensor], list[str]]:
    """The asked-for weights, raw or averaged, and a line where the file has both."""
    if ema:
        state, name = averaged_weights(content, path)
        return state, [f"Took the averaged weights, '{name}'"]
    state = state_dict_of(content, path)
    if MMENGINE_RAW in content:
        return state, [
            f"'{MMENGINE_RAW}' was left out: MMEngine keeps the averaged weights under "
            f"'state_dict', which were read"
        ]
    found = averaged_entries(content)
    beside = [name for name in found if not any(key.startswith(f"{name}.") for key in state)]
    if len(beside) == 1 and implausible(state) and not implausible(found[beside[0]]):
        return found[beside[0]], [
            f"WARNING: took the averaged weights, '{beside[0]}': the others are not those of a "
            f"trained encoder, {some(implausible(state))}"
        ]
    return state, [
        f"Averaged weights were left out: '{name}' ({len(found[name])} tensors); source 'ema' "
        f"(--pretrained-source ema) takes them"
        for name in beside
    ]  # fmt: skip


def take_encoder(
    state: dict[str, Tensor], source: str | None, path: str | Path
) -> tuple[dict[str, Tensor], list[str], str]:
    """The encoder's tensors with its own names, the keys left out, and what was taken."""
    part, why = (source, "") if source in PARTS else _usual(state)
    prefix = PARTS[part or "online"]
    taken = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    if taken:
        words = f"the {part} encoder{why}"
        return taken, [key for key in state if not key.startswith(prefix)], words
    if part == "target":
        raise CheckpointError(f"{path} has no target encoder ({prefix}*): use source='online'.")
    dense = "backbone.encoder."
    taken = {key[len(dense) :]: value for key, value in state.items() if key.startswith(dense)}
    if taken:
        return taken, [key for key in state if not key.startswith(dense)], "a backbone's encoder"
    return dict(state), [], "a bare encoder"


def _usual(state: Mapping[str, Tensor]) -> tuple[str, str]:
    """The encoder that the method's authors evaluate: DINO's teacher, I-JEPA's target encoder."""
    has_target = any(key.startswith(PARTS["target"]) for key in state)
    if has_target and any(DINO_CENTRE.fullmatch(key) for key in state):
        return "target", ", DINO's teacher, which its authors evaluate"
    if has_target and any(PREDICTOR.fullmatch(key) for key in state):
        return "target", ", I-JEPA's target encoder, which its authors evaluate"
    return "online", ""


def has_target(path: str | Path) -> bool:
    """Whether a file has a momentum encoder beside the online one.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it cannot be read.
    """
    state = named_weights(load_file(path), path).state
    return any(key.startswith(PARTS["target"]) for key in state)
