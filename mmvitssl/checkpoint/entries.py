"""Where the weights lie in a file: its entries and wrapper prefixes; and values that are NaN."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmvitssl.checkpoint.errors import CheckpointError

State = dict[str, Tensor]
ENTRIES = ("state_dict", "model")  # where most programs keep weights
AVERAGED = re.compile(r"(.*_)?(ema|swa|averaged?)(_.*)?")  # timm: state_dict_ema, DeiT: model_ema
MMENGINE_RAW = "ema_state_dict"  # of EMAHook, which saves the averaged weights as state_dict
INNER = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
PATCHES = re.compile(
    r"((?:.+\.)?)(?:embeddings\.patch_embeddings\.projection|patch_embed\.proj(?:ection)?)\.weight"
)
OWN = re.compile(r"(backbone\.)?encoder\.(?:model\.)?patch_embed\.proj\.weight")
SHOWN = 12


def some(names: list[str], shown: int = SHOWN) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def tensors_in(content: Any) -> State:
    """The tensors of an entry; none if it is no mapping."""
    if not isinstance(content, Mapping):
        return {}
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def averaged_entries(checkpoint: Mapping[str, Any]) -> dict[str, State]:
    """Weights of an exponential moving average beside the raw ones, by the name of their entry."""
    return {
        name: tensors
        for name in checkpoint
        if isinstance(name, str) and AVERAGED.fullmatch(name) and name != MMENGINE_RAW
        and (tensors := tensors_in(checkpoint[name]))
    }  # fmt: skip


def averaged_weights(checkpoint: Mapping[str, Any], path: str | Path) -> tuple[State, str]:
    """The averaged weights of a file, and the entry they come from.

    Raises:
        CheckpointError: there are none, or several.
    """
    if MMENGINE_RAW in checkpoint:
        return state_dict_of(checkpoint, path), "state_dict"
    found = averaged_entries(checkpoint)
    if len(found) != 1:
        raise CheckpointError(
            f"{path} has {'several' if found else 'no'} averaged weights: source='ema' needs one "
            f"entry such as 'model_ema' or 'state_dict_ema'; the file has the entries "
            f"{sorted(map(str, checkpoint))[:SHOWN]}."
        )
    name, state = next(iter(found.items()))
    return state, name


def state_dict_of(checkpoint: Mapping[str, Any], path: str | Path) -> State:
    """The tensors of a checkpoint: under ``state_dict`` or ``model``, or the dict itself.

    Where they lie in several entries (DINO: student, teacher and loss), the names of these are put
    before the keys. Averaged weights are taken only where there are no others.

    Raises:
        CheckpointError: there are none.
    """
    content = checkpoint
    while entry := next((n for n in ENTRIES if isinstance(content.get(n), Mapping)), None):
        content = content[entry]
    state = tensors_in(content)
    if not state:
        nested = {str(name): tensors_in(part) for name, part in content.items()}
        raw = {name: part for name, part in nested.items() if not AVERAGED.fullmatch(name)}
        for name, part in (raw if any(raw.values()) else nested).items():
            state.update({f"{name}.{key}": value for key, value in part.items()})
    if not state:
        raise CheckpointError(
            f"{path} holds no weights: expected tensors under 'state_dict' or 'model'; it has the "
            f"entries {sorted(map(str, checkpoint))[:SHOWN]}."
        )
    return state


@dataclass(frozen=True)
class Unwrapped:
    """A state dict without the prefixes of wrappers.

    Attributes:
        state: with the names that the encoder's own program gives.
        removed: what was taken off the front of every key, such as 'module.'.
        inner: what was taken out of the middle of keys, such as '_orig_mod.'.
        outside: keys that lie beside the wrapped module, with their full names.
    """

    state: State
    removed: str = ""
    inner: tuple[str, ...] = ()
    outside: list[str] = field(default_factory=list)

    def words(self) -> list[str]:
        """One line if something was taken off."""
        found = [f"'{prefix}'" for prefix in (self.removed, *self.inner) if prefix]
        return [f"Took the wrapper prefix {' and '.join(found)} off the keys"] if found else []


def unwrap(state: Mapping[str, Tensor], known: Callable[[State], bool]) -> Unwrapped:
    """Take the prefixes of wrappers off: DataParallel, torch.compile, FSDP, Lightning, any module.

    The patch projection, which every encoder has, shows where the encoder lies. Prefixes are taken
    off one by one until the names are this package's or of a known format.

    Args:
        state: tensors by key.
        known: whether a state dict is of a format that has its own prefixes.

    Raises:
        CheckpointError: there are several encoders, and nothing tells which one is meant.
    """
    inner = tuple(part for part in INNER if any(part in key for key in state))
    names = {key: _without(key, inner) for key in state}
    current = {names[key]: tensor for key, tensor in state.items()}
    removed, outside = "", []
    while not known(current) and not any(OWN.fullmatch(key) for key in current):
        fronts = {match[1] for match in map(PATCHES.fullmatch, current) if match}
        if not fronts or "" in fronts:
            break
        first = sorted({front.split(".")[0] + "." for front in fronts})
        if len(first) > 1:
            raise CheckpointError(
                f"The file holds several encoders, under {', '.join(sorted(fronts))}: save the one "
                f"that is meant as a dict of tensors in a file of its own."
            )
        outside += [removed + key for key in current if not key.startswith(first[0])]
        current = {k[len(first[0]) :]: v for k, v in current.items() if k.startswith(first[0])}
        removed += first[0]
    return Unwrapped(current, removed, inner, outside)


def _without(key: str, parts: tuple[str, ...]) -> str:
    for part in parts:
        key = key.replace(part, "")
    return key


def check_finite(state: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse weights that are NaN or infinite: such a model computes nothing.

    Raises:
        CheckpointError: names the tensors, with how many of their values are not finite.
    """
    bad = [
        f"{key} ({int((~torch.isfinite(tensor)).sum())} of {tensor.numel()})"
        for key, tensor in state.items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if bad:
        raise CheckpointError(
            f"{path}: {len(bad)} of {len(state)} tensors hold values that are NaN or infinite: "
            f"{some(bad)}. The training that wrote it diverged: take an earlier checkpoint."
        )
