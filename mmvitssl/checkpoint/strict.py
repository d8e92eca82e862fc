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

from mmvitssl.checkpoint.entries import check_finite, some, state_dict_of
from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.facts import Facts, check_heads, facts_of, resize_rule
from mmvitssl.checkpoint.formats.base import Format
from mmvitssl.checkpoint.named import SOURCES, NamedWeights, named_weights, take_encoder
from mmvitssl.checkpoint.normalisation import differing, mean_std_in
from mmvitssl.checkpoint.plausible import check_dtypes, check_scale
from mmvitssl.checkpoint.safe import load_file
from mmvitssl.models.backbones.contract import Backbone, ReadsOwnFiles, UsesPart, backbone_in
from mmvitssl.models.backbones.vit import ViT

OTHER_NORMS = re.compile(r"fc_norm\.|backbone\.norm\d\.")
# tokens that come from other code bases, which name none of them
OUTSIDE_TOKENS = re.compile(r"prefix_tokens\.(register_\d+|distillation)")
HINTS = {
    "cls_token": "the file has no class token (cls_token is missing), as encoders that pool their "
    "patches (I-JEPA, SigLIP, 'gap'): set class_token=False",
    "pos_embed": "the file has no position table: set position='none' if its positions are "
    "relative",
}


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
        notes: what was assumed, or chosen out of several, one line each.
    """

    path: str
    source: str
    loaded: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    not_needed: list[str] = field(default_factory=list)
    carried: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """The report in a few lines."""
        lines = [f"Loaded {len(self.loaded)} tensors of {self.source} from {self.path}."]
        lines += [f"{note}." for note in self.notes]
        lines += [f"Resized {note}." for note in self.resized]
        if self.not_needed:
            lines.append(f"Not needed by this encoder: {some(self.not_needed)}.")
        for reason, number in Counter(self.carried.values()).items():
            lines.append(f"No place for {number} tensors of that format: {reason}.")
        if self.left_out:
            lines.append(f"Left out {len(self.left_out)} tensors: {_by_prefix(self.left_out)}.")
        return "\n".join(lines)


def _by_prefix(names: list[str]) -> str:
    counts: dict[str, int] = {}
    for name in names:
        parts = name.split(".")
        prefix = ".".join(parts[: 2 if parts[0] in ("target", "tasks") else 1])
        counts[prefix] = counts.get(prefix, 0) + 1
    return ", ".join(f"{prefix}.* ({number})" for prefix, number in counts.items())


def load_encoder(
    backbone: nn.Module,
    path: str | Path,
    source: str | None = None,
    log: Callable[[str], None] | None = None,
    preprocessor: Any = None,
    fresh_tokens: bool = False,
) -> LoadReport:
    """Load a pretrained encoder into a backbone, strictly.

    Args:
        backbone: an encoder, or a module that holds one as ``encoder``.
        path: a pretraining checkpoint of this package, one of a detector or segmentor that was
            trained on it, a file with the encoder's own (timm) keys, or an official checkpoint of
            a known format (:mod:`mmvitssl.checkpoint.formats`). Prefixes of wrappers (``module.``,
            ``model.``) are taken off.
        source: 'online' or 'target' encoder of a pretraining checkpoint; 'ema': averaged weights
            that the file keeps beside the others (``model_ema``, ``state_dict_ema``); None: what
            the method's authors evaluate, DINO's teacher, I-JEPA's target encoder, and the online
            encoder of all others.
        log: where the summary goes; by default MMEngine's current logger.
        preprocessor: of the model's images, whose mean and standard deviation are compared with
            those that the checkpoint says; None: not compared.
        fresh_tokens: whether tokens that serve pretraining alone (mask token) may be missing in
            the file and keep their values.

    Returns:
        what was loaded, resized and left out.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is no checkpoint, misses keys of the encoder, has tensors of
            other shapes or types or with values that no trained encoder has (NaN, a million times
            too large), has encoder tensors that this encoder
            has no place for, or says that it was trained with another number of attention heads.
    """
    if source not in (None, *SOURCES):
        raise ValueError(f"source='{source}' is unknown; use one of {sorted(SOURCES)}.")
    encoder = backbone_in(backbone)
    content = load_file(path)
    named = _of_its_library(encoder, content, path) or named_weights(
        content, path, source == "ema", encoder.spec.grid
    )
    state, left_out, words = take_encoder(named.state, source, path)
    words += named.words
    _check_positions(encoder, named.origin, path)
    state, notes = _fit_tokens(encoder, state, path)
    facts: Facts = facts_of(content, path, named.origin, state)
    own = encoder.state_dict()
    not_needed = [k for k in state if k.startswith(encoder.optional_state) and k not in own]
    state = {key: tensor for key, tensor in state.items() if key not in not_needed}
    state, resized = _adapt(encoder, state, facts, path, words)
    state, fresh = _allow_missing(backbone, encoder, state, [*left_out, *named.carried])
    if fresh_tokens:
        new = [k for k in own if k not in state and k.startswith(encoder.optional_state)]
        state |= {key: own[key] for key in new}
        fresh = [*fresh, *new]
        notes += [f"New, as the file lacks them: {some(new)}"] if new else []
    check_keys(own, state, path, words)
    notes += check_heads(encoder, facts, path, state)
    origin = None if named.origin is None else named.origin.name
    notes += _resize_notes(encoder, resize_rule(origin, state))
    check_dtypes(own, state, path)
    check_finite(state, path)
    check_scale({key: state[key] for key in state if key not in fresh}, path)
    encoder.load_state_dict(state, strict=True)
    told = None if facts.mean is None or facts.std is None else (facts.mean, facts.std)
    warning = differing(told, mean_std_in(preprocessor))
    report = LoadReport(
        str(path), words, sorted(set(state) - set(fresh)), resized + fresh_words(fresh),
        left_out + named.outside, not_needed, named.carried,
        named.notes + notes + ([warning] if warning else []),
    )  # fmt: skip
    (log or _to_logger)(report.summary())
    return report


def _of_its_library(
    encoder: Backbone, content: Mapping[str, Any], path: str | Path
) -> NamedWeights | None:
    """The weights of a file of the library whose model a backbone wraps; None: it is none."""
    if not isinstance(encoder, ReadsOwnFiles):
        return None
    state = state_dict_of(content, path)
    own = None if any(".encoder." in f".{key}" for key in state) else encoder.own_names(state)
    return None if own is None else NamedWeights(own, notes=["Read as a file of its library"])


def _check_positions(encoder: Backbone, origin: Format | None, path: str | Path) -> None:
    """Refuse an encoder without the relative positions that a format's weights need.

    Raises:
        CheckpointError: it has others; features would be wrong without a word.
    """
    needs = None if origin is None else origin.relative_position
    own = encoder.relative_position if isinstance(encoder, ViT) else None
    if origin is not None and needs and own != needs:
        raise CheckpointError(
            f"{path} is of {origin.words}: its model has rotary position embeddings (it holds "
            f"neither pos_embed nor relative_position_bias_table). Build the encoder with "
            f"position='none', relative_position='{needs}', norm_eps=1e-5, layer_scale=1e-5, four "
            f"prefix_tokens, and qkv_bias='qv' or 'none' as the file has q_bias."
        )


def _resize_notes(encoder: Backbone, rule: tuple[float, bool] | None) -> list[str]:
    """A warning where the encoder resizes positions by another rule than the file's authors."""
    names = ("interpolate_offset", "interpolate_antialias")
    if rule is None:
        return []
    own: tuple[float | None, bool | None] = (None, None)
    if isinstance(encoder, ViT):
        own = encoder.interpolate_offset, encoder.interpolate_antialias
    if own == rule:
        return []
    theirs, ours = (", ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
                    for values in (rule, own))  # fmt: skip
    return [
        f"WARNING: for images of other sizes the file's authors resize positions with {theirs}, "
        f"and this encoder with {ours}: its features differ from theirs there"
    ]


def _fit_tokens(
    encoder: Backbone, state: dict[str, Tensor], path: str | Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Registers and distillation tokens of other code bases under the names of this encoder."""
    theirs = [key for key in state if OUTSIDE_TOKENS.fullmatch(key)]
    own = [f"prefix_tokens.{name}" for name in encoder.spec.prefix_tokens]
    if not theirs or theirs == own:
        return state, []
    names = [key.removeprefix("prefix_tokens.") for key in theirs]
    if len(theirs) != len(own):
        what = (
            "a distillation token (dist_token)" if names == ["distillation"]
            else f"{len(names)} register tokens" if "distillation" not in names
            else f"{len(names)} tokens, among them a distillation token (dist_token)"
        )  # fmt: skip
        raise CheckpointError(
            f"{path} has {what} beside the class token, for which this encoder has "
            f"{len(own) or 'no'} place{'s' if len(own) > 1 else ''}; without them the features are "
            f"others: build it with prefix_tokens={names}."
        )
    renamed = dict(zip(theirs, own, strict=True))
    note = f"Tokens {', '.join(names)} became {', '.join(own)}"
    return {renamed.get(key, key): tensor for key, tensor in state.items()}, [note]


def _adapt(
    encoder: Backbone, state: dict[str, Tensor], facts: Any, path: str | Path, words: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Resize tables; where that fails, what is wrong with the names is the better message."""
    grids = {"grid": facts.grid, "relative_grid": facts.relative_grid}
    told = {name: grid for name, grid in grids.items() if grid is not None}
    try:
        return encoder.adapt_state(state, **told)
    except ValueError as error:
        check_keys(encoder.state_dict(), state, path, words, only_names=True)
        raise CheckpointError(f"{path}: {error}") from error


def _allow_missing(
    backbone: nn.Module, encoder: Backbone, state: dict[str, Tensor], others: list[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Take the final norm from the model where a file has another in its place and none is used.

    Models with mean pooling have ``fc_norm`` after it, Swin detectors a norm for every level.
    """
    replaced = any(OTHER_NORMS.match(key) for key in others)
    unused = backbone.unused_state if isinstance(backbone, UsesPart) else ()
    missing = [
        key for key in encoder.state_dict() if key not in state and key.startswith(tuple(unused))
    ]
    if not (replaced and unused and missing):
        return state, []
    own = encoder.state_dict()
    return {**state, **{key: own[key] for key in missing}}, missing


def fresh_words(names: list[str]) -> list[str]:
    """A line for tensors that a file lacks and the maps do not depend on."""
    return [f"nothing for {some(names)}, which is not used here"] if names else []


def load_strict(model: nn.Module, path: str | Path, outside: bool = True) -> list[str]:
    """Load all of a model's weights, none missing and none left over.

    Args:
        model: whose weights are set.
        path: a checkpoint of this model, or an official one of a known format for it.
        outside: whether official files and wrapper prefixes are taken; not for resuming, which
            reads more than the weights.

    Returns:
        what was done to the names, in lines.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: keys, shapes or types differ, values are those of no trained encoder, or
            an official file was trained with another number of heads; the message lists them.
    """
    content, own = load_file(path), model.state_dict()
    state = state_dict_of(content, path)
    words, notes = "a whole model", list[str]()
    if outside and "encoder.patch_embed.proj.weight" in own and state.keys() != own.keys():
        named = named_weights(content, path)
        state, notes = named.state, [*named.notes]
        if named.origin is not None:
            state = _name_tasks(state, named.origin, model)
            words = f"a whole model of the format '{named.origin.name}', as tools/checkpoint.py "
            words += "import writes it"
            notes.append(f"Read {path} as {named.origin.words}")
            encoder = {k[8:]: v for k, v in state.items() if k.startswith("encoder.")}
            notes += check_heads(
                backbone_in(model), facts_of(content, path, named.origin, encoder), path, encoder
            )
    check_keys(own, state, path, words)
    check_dtypes(own, state, path)
    check_finite(state, path)
    for front in ("encoder.", "backbone.encoder.", "target.modules_by_name.encoder."):
        check_scale(state, path, front)
    model.load_state_dict(state, strict=True)
    for note in notes:
        _to_logger(f"{note}.")
    return notes


def _name_tasks(state: dict[str, Tensor], origin: Format, model: Any) -> dict[str, Tensor]:
    """The names of a format's task -> those of the model's only task of that type."""
    if origin.task is None:
        return state
    name, kind = origin.task
    names = [
        own
        for own, task in getattr(model, "tasks", {}).items()
        if any(base.__name__ == kind for base in type(task).__mro__)
    ]
    return rename_task(state, name, names[0]) if len(names) == 1 else state


def rename_task(state: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    """Another name for a task in the keys of a whole model, momentum modules included."""
    fronts = {
        f"tasks.{old}.": f"tasks.{new}.",
        f"target.modules_by_name.{old}_": f"target.modules_by_name.{new}_",
    }
    return {
        next((to + key[len(at) :] for at, to in fronts.items() if key.startswith(at)), key): tensor
        for key, tensor in state.items()
    }


def _to_logger(message: str) -> None:
    print_log(message, logger="current")


def check_keys(
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    path: str | Path,
    words: str,
    only_names: bool = False,
) -> None:
    """Raise CheckpointError, with all differences, unless keys and shapes agree.

    Args:
        own: of the model.
        state: of the file.
        path: of the file.
        words: what the file was read as.
        only_names: whether shapes are not compared.
    """
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} in the model"
        for key in own
        if not only_names and key in state and own[key].shape != state[key].shape
    ]
    if not (missing or unexpected or shapes):
        return
    problems = [HINTS[key] for key in missing if key in HINTS]
    if missing:
        problems.append(f"it misses {len(missing)} of {len(own)} keys: {some(missing)}")
    if unexpected:
        problems.append(f"{len(unexpected)} keys have no place: {some(unexpected)}")
    if shapes:
        problems.append(f"{len(shapes)} tensors have another shape: {some(shapes)}")
    raise CheckpointError(
        f"{path} (read as {words}) does not fit this model, whose config must describe the "
        f"architecture of the checkpoint: " + "; ".join(problems) + "."
    )
