"""Loading that accounts for every key."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from mmvitssl.checkpoint.heads import check_heads
from mmvitssl.checkpoint.safe import CheckpointError, load_file

PARTS = {"online": "encoder.", "target": "target.modules_by_name.encoder."}
SHOWN = 12
OTHER_NORMS = re.compile(r"fc_norm\.|backbone\.norm\d\.")


@dataclass
class LoadReport:
    """What became of the keys of a checkpoint.

    Attributes:
        path: the file.
        source: what was taken out of it, in words.
        loaded: keys of the encoder that were set.
        resized: one line for each table that was resized.
        left_out: keys of the file that were not asked for.
        not_needed: encoder keys of the file that this encoder has no place for, by name.
        carried: keys that another code base's format has and this package has not, with the reason.
    """

    path: str
    source: str
    loaded: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    not_needed: list[str] = field(default_factory=list)
    carried: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """The report in a few lines."""
        lines = [f"Loaded {len(self.loaded)} tensors of {self.source} from {self.path}."]
        lines += [f"Resized {note}." for note in self.resized]
        if self.not_needed:
            lines.append(f"Not needed by this encoder: {_some(self.not_needed)}.")
        for reason, number in Counter(self.carried.values()).items():
            lines.append(f"No place for {number} tensors of that format: {reason}.")
        if self.left_out:
            lines.append(f"Left out {len(self.left_out)} tensors: {_by_prefix(self.left_out)}.")
        return "\n".join(lines)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _by_prefix(names: list[str]) -> str:
    counts: dict[str, int] = {}
    for name in names:
        parts = name.split(".")
        prefix = ".".join(parts[: 2 if parts[0] in ("target", "tasks") else 1])
        counts[prefix] = counts.get(prefix, 0) + 1
    return ", ".join(f"{prefix}.* ({number})" for prefix, number in counts.items())


def state_dict_of(checkpoint: Mapping[str, Any], path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint: under ``state_dict`` or ``model``, or the dict itself.

    Where they lie in several entries (DINO: student, teacher and loss), the names of these are put
    before the keys.

    Raises:
        CheckpointError: there are none.
    """
    for name in ("state_dict", "model"):
        if isinstance(checkpoint.get(name), Mapping):
            checkpoint = checkpoint[name]
            break
    state = {key: value for key, value in checkpoint.items() if isinstance(value, Tensor)}
    if not state:
        for entry, content in checkpoint.items():
            if isinstance(content, Mapping):
                tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)}
                state.update({f"{entry}.{key}": value for key, value in tensors.items()})
    if not state:
        raise CheckpointError(
            f"{path} holds no weights: expected tensors under 'state_dict' or 'model'; it has the "
            f"entries {sorted(map(str, checkpoint))[:SHOWN]}."
        )
    return state


def _named_here(
    state: dict[str, Tensor], path: str | Path
) -> tuple[dict[str, Tensor], str, dict[str, str]]:
    """A state dict with this package's names, where it came from, and what has no name here."""
    # here, because formats know the encoder's tables, whose package reads checkpoints
    from mmvitssl.checkpoint.formats import recognise

    outside = recognise(state)
    if outside is None:
        return state, "", {}
    try:
        imported = outside.import_state(state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return imported.state, f" ({outside.words})", imported.reasons


def _take(
    state: dict[str, Tensor], source: str, path: str | Path
) -> tuple[dict[str, Tensor], list[str], str]:
    """The encoder's tensors with its own names, the keys left out, and what was taken."""
    if source not in PARTS:
        raise ValueError(f"source='{source}' is unknown; use one of {sorted(PARTS)}.")
    prefix = PARTS[source]
    taken = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    if taken:
        words = f"the {source} encoder"
        return taken, [key for key in state if not key.startswith(prefix)], words
    if source == "target":
        raise CheckpointError(f"{path} has no target encoder ({prefix}*): use source='online'.")
    dense = "backbone.encoder."
    taken = {key[len(dense) :]: value for key, value in state.items() if key.startswith(dense)}
    if taken:
        return taken, [key for key in state if not key.startswith(dense)], "a backbone's encoder"
    return dict(state), [], "a bare encoder"


def load_encoder(
    backbone: nn.Module,
    path: str | Path,
    source: str = "online",
    log: Callable[[str], None] | None = None,
) -> LoadReport:
    """Load a pretrained encoder into a backbone, strictly.

    Args:
        backbone: an encoder, or a module that holds one as ``encoder``.
        path: a pretraining checkpoint of this package, one of a detector or segmentor that was
            trained on it, a file with the encoder's own (timm) keys, or an official checkpoint of
            a known format (:mod:`mmvitssl.checkpoint.formats`).
        source: 'online' or 'target' encoder of a pretraining checkpoint.
        log: where the summary goes; by default MMEngine's current logger.

    Returns:
        what was loaded, resized and left out.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is no checkpoint, misses keys of the encoder, has tensors of
            other shapes, has encoder tensors that this encoder has no place for, or says that it
            was trained with another number of attention heads.
    """
    encoder: Any = getattr(backbone, "encoder", backbone)
    content = load_file(path)
    state, origin, carried = _named_here(state_dict_of(content, path), path)
    state, left_out, words = _take(state, source, path)
    words += origin
    state, resized = encoder.adapt_state(state)
    state, fresh = _allow_missing(backbone, encoder, state, [*left_out, *carried])
    droppable = [key for key in state if key.startswith(encoder.optional_state)]
    own = encoder.state_dict()
    not_needed = [key for key in droppable if key not in own]
    for key in not_needed:
        del state[key]
    check_keys(own, state, path, words)
    check_heads(encoder, content, path)
    encoder.load_state_dict(state, strict=True)
    report = LoadReport(
        str(path), words, sorted(set(state) - set(fresh)), resized + fresh_words(fresh), left_out,
        not_needed, carried,
    )  # fmt: skip
    (log or _to_logger)(report.summary())
    return report


def _allow_missing(
    backbone: Any, encoder: Any, state: dict[str, Tensor], others: list[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Take the final norm from the model where a file has another in its place and none is used.

    Models with mean pooling have ``fc_norm`` behind it, Swin detectors a norm for every level.
    """
    replaced = any(OTHER_NORMS.match(key) for key in others)
    unused = getattr(backbone, "unused_state", ())
    missing = [
        key for key in encoder.state_dict() if key not in state and key.startswith(tuple(unused))
    ]
    if not (replaced and unused and missing):
        return state, []
    own = encoder.state_dict()
    return {**state, **{key: own[key] for key in missing}}, missing


def fresh_words(names: list[str]) -> list[str]:
    """A line for tensors that a file lacks and the maps do not depend on."""
    return [f"nothing for {_some(names)}, which is not used here"] if names else []


def load_strict(model: nn.Module, path: str | Path) -> None:
    """Load all of a model's weights, none missing and none left over.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: keys or shapes differ; the message lists them.
    """
    state = state_dict_of(load_file(path), path)
    check_keys(model.state_dict(), state, path, "a whole model")
    model.load_state_dict(state, strict=True)


def _to_logger(message: str) -> None:
    print_log(message, logger="current")


def check_keys(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: str | Path, words: str
) -> None:
    """Raise CheckpointError, with all differences, unless keys and shapes agree."""
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} in the model"
        for key in own
        if key in state and own[key].shape != state[key].shape
    ]
    if not (missing or unexpected or shapes):
        return
    problems = []
    if missing:
        problems.append(f"it misses {len(missing)} of {len(own)} keys: {_some(missing)}")
    if shapes:
        problems.append(f"{len(shapes)} tensors have another shape: {_some(shapes)}")
    if unexpected:
        problems.append(f"{len(unexpected)} keys have no place: {_some(unexpected)}")
    raise CheckpointError(
        f"{path} (read as {words}) does not fit this model, whose config must describe the "
        f"architecture of the checkpoint: " + "; ".join(problems) + "."
    )
