"""Weights that a run starts from: every key and option that names a file of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner, find_latest_checkpoint

from mmvitssl.checkpoint import (
    CheckpointError,
    check_weights_file,
    load_encoder,
    load_file,
    load_strict,
)
from mmvitssl.checkpoint.entries import some, state_dict_of
from mmvitssl.checkpoint.named import SOURCES
from mmvitssl.config_tree import kind_of, listed, parts
from mmvitssl.engine.launch import UserError, bare_model
from mmvitssl.models.algorithms import ImageClassifier, Pretrainer
from mmvitssl.registry import MODELS

RIGHT = "pretrained = 'FILE' at the top of the config (or --pretrained FILE)"
# where MMEngine users name the weights of a backbone; all mean the same encoder here
PLACES = ("model.backbone", "model.backbone.encoder", "model.encoder")


@dataclass(frozen=True)
class StartingWeights:
    """What a run starts from.

    Attributes:
        encoder: file of a pretrained encoder; None: none.
        source: which encoder of it; None: what its authors evaluate.
        model: file with all weights of the model; None: none.
        foreign: (path of a module, file, prefix of its keys) for ``init_cfg`` of modules of other
            packages, which read the file themselves.
        anew: whether a pretraining begins from the encoder (``--init``, ``init``).
    """

    encoder: str | None = None
    source: str | None = None
    model: str | None = None
    foreign: tuple[tuple[str, str, str], ...] = ()
    anew: bool = False


def _ours(module: Mapping[str, Any]) -> bool:
    """Whether a module's config is of a class of this package."""
    kind = module.get("type")
    if isinstance(kind, str):
        scope, _, name = kind.rpartition(".")
        kind = MODELS.module_dict.get(name) if scope in ("", "mmvitssl") else None
    cls = kind if isinstance(kind, type) else None
    return getattr(cls, "__module__", "").startswith("mmvitssl.")


def _take_init_cfg(
    config: Config,
) -> tuple[list[tuple[str, str]], tuple[tuple[str, str, str], ...]]:
    """Take out what ``init_cfg`` says of our encoder.

    Returns:
        (config key, file) for our encoder, and (path, file, prefix) for modules of other packages,
        whose own code reads them.

    Raises:
        UserError: it stands in a part of the model that holds more or less than the encoder.
        CheckpointError, FileNotFoundError: what it names is no file.
    """
    found, foreign = [], []
    initialised = [
        (path, module, entry)
        for path, module in parts(config.get("model") or {}, "model")
        for entry in listed(module.get("init_cfg"))
        if kind_of(entry) in ("Pretrained", "PretrainedInit")
    ]
    for path, module, entry in initialised:
        key, file = f"{path}.init_cfg", str(entry.get("checkpoint"))
        if path in PLACES and _ours(module):
            found.append((key, file))
            module.pop("init_cfg")
        elif _ours(module) or (path == "model" and _encoder_of(config) is not None):
            raise UserError(
                f"{key} names weights ({file}) that would be read without comparing keys: weights "
                f"of a pretrained encoder are named by {RIGHT}, those of the whole model by "
                f"load_from = 'FILE'."
            )
        elif "://" not in file:
            check_weights_file(file, key)
            foreign.append((path, file, str(entry.get("prefix") or "")))
    return found, tuple(foreign)


def _encoder_of(config: Config) -> Mapping[str, Any] | None:
    """The part of the model's config that holds an encoder of this package."""
    model = config.get("model") or {}
    for part in (model.get("backbone"), model.get("encoder")):
        if isinstance(part, Mapping) and _ours(part):
            return part
    return None


def _refuse_unread(config: Config) -> None:
    """Keys of older frameworks, and of mmseg, that bring weights nowhere.

    Raises:
        UserError: one of them is set.
    """
    for key, right in (
        ("resume_from", "--resume FILE goes on with a run"),
        ("auto_resume", "--resume goes on with the last checkpoint of the work folder"),
        ("init_cfg", f"weights are named by {RIGHT}"),
    ):
        if config.get(key):
            raise UserError(f"'{key}' at the top of the config is read by nothing: {right}.")
    model = config.get("model") or {}
    if _encoder_of(config) is None:
        return
    for path, part in (("model", model), ("model.backbone", model.get("backbone") or {})):
        if part.get("pretrained"):
            raise UserError(
                f"{path}.pretrained={part['pretrained']!r} is read by nothing here: weights of a "
                f"pretrained encoder are named by {RIGHT}."
            )


def take_weights(
    config: Config,
    pretrained: str | None = None,
    source: str | None = None,
    init: str | None = None,
) -> StartingWeights:
    """Find what a run starts from, before anything is built; MMEngine gets none of it.

    ``--pretrained`` and ``--init`` come before the config's ``pretrained`` and ``init``, and all
    before an ``init_cfg`` of the backbone. With a resumed run nothing is taken: the checkpoint has
    all weights.

    Args:
        config: of the run; keys that bring weights are taken out of it.
        pretrained: of the command line.
        source: likewise, of the command line.
        init: ``--init`` of the command line.

    Raises:
        UserError: two keys name two files, a key is read by nothing, or a source is unknown.
        CheckpointError: what is named is no file but an address, a folder or a model's name.
        FileNotFoundError: there is no such file.
    """
    _refuse_unread(config)
    source = source or config.get("pretrained_source")
    config.pop("pretrained_source", None)
    said = {"--init": init, "--pretrained": pretrained}
    written = {key: config.pop(key, None) for key in ("init", "pretrained")}
    if source not in (None, *SOURCES):
        raise UserError(f"pretrained_source={source!r} is unknown; use one of {SOURCES}.")
    named = [(key, str(file)) for key, file in said.items() if file]
    named = named or [(key, str(file)) for key, file in written.items() if file]
    if len(named) > 1:
        raise UserError(f"{named[0][0]} and {named[1][0]} name two starts: keep one.")
    inside, foreign = _take_init_cfg(config)
    if named and inside:
        print_log(f"{inside[0][0]} is left out: {named[0][0]} comes before it.")
    named = named or inside
    if len({file for _, file in named}) > 1:
        raise UserError(f"{' and '.join(key for key, _ in named)} name two files: keep one.")
    if _resumes(config):
        if named:
            print_log(f"{named[0][0]} is left out: the run is resumed, with all its weights.")
        return StartingWeights()
    model = config.pop("load_from", None)
    if source and not named:
        raise UserError(
            "--pretrained-source (pretrained_source) chooses an encoder of --pretrained CKPT."
        )
    if model and named:
        raise UserError(
            f"load_from brings all weights of the model and {named[0][0]} those of its encoder: "
            f"keep one of them."
        )
    for option, file in [*named, *([("load_from", str(model))] if model else [])]:
        check_weights_file(str(file), option)
    option, encoder = named[0] if named else ("", None)
    return StartingWeights(encoder, source, model, foreign, anew=option in ("--init", "init"))


def _resumes(config: Config) -> bool:
    """Whether a checkpoint is there to go on from."""
    if not config.get("resume"):
        return False
    return bool(config.get("load_from") or find_latest_checkpoint(config.get("work_dir") or ""))


def drop_weights(config: Config) -> None:
    """Take out of a config for testing what would be loaded over the tested checkpoint.

    Raises:
        UserError: a key is read by nothing.
    """
    _refuse_unread(config)
    _take_init_cfg(config)
    for key in ("load_from", "init", "pretrained", "pretrained_source", "resume"):
        if config.pop(key, None):
            print_log(f"The config's {key} is left out: the checkpoint that is tested has all.")


def load_weights(runner: Runner, weights: StartingWeights) -> None:
    """Load what a run starts from into its model, strictly.

    Raises:
        UserError: the model has neither backbone nor encoder.
        CheckpointError: the file does not fit.
    """
    model: Any = bare_model(runner)
    for place, file, prefix in weights.foreign:
        _check_foreign(model, place, file, prefix)
    if weights.model is not None:
        try:
            for note in load_strict(model, weights.model):
                runner.logger.info(note)
        except CheckpointError as error:
            raise CheckpointError(
                f"load_from: {error} It takes all weights of the model. Those of a pretrained "
                f"encoder, or of the backbone of another detector, are named by {RIGHT}."
            ) from error
        runner.logger.info(f"Loaded all weights of the model from {weights.model}.")
    if weights.encoder is not None:
        load_pretrained(runner, weights.encoder, weights.source, weights.anew)
        return
    frozen = isinstance(model, ImageClassifier) and model.frozen
    if frozen and weights.model is None and not runner._resume:
        runner.logger.warning(f"The frozen encoder keeps its random weights: nothing says {RIGHT}.")


def _check_foreign(model: Any, place: str, file: str, prefix: str) -> None:
    """Refuse a file for a head or neck of another package that lacks some of its weights.

    Backbones of other packages rename the keys of files as they read them; they are left alone.

    Raises:
        CheckpointError: MMEngine would keep random weights, with a line in the log at most.
    """
    name = place.removeprefix("model.").removeprefix("model")
    if not name or name.split(".")[0] == "backbone":
        return
    try:
        part = model.get_submodule(name)
    except AttributeError as error:
        raise CheckpointError(
            f"{place}.init_cfg names {file}, and the model has no single module of that path to "
            f"compare it with: name weights of the whole model with load_from = 'FILE'."
        ) from error
    front = prefix.rstrip(".") + "." if prefix else ""
    state = {key.removeprefix(front) for key in state_dict_of(load_file(file), file)}
    missing = [key for key in part.state_dict() if key not in state]
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing:
        raise CheckpointError(
            f"{place}.init_cfg: {file} misses {len(missing)} of {len(part.state_dict())} keys of "
            f"this {type(part).__name__}: {some(missing)}."
        )


def load_pretrained(
    runner: Runner, path: str, source: str | None = None, anew: bool = False
) -> None:
    """Load a pretrained encoder into the backbone (or encoder) of the runner's model, strictly.

    Args:
        runner: whose model gets it.
        path: see :func:`~mmvitssl.checkpoint.load_encoder`.
        source: which encoder of the checkpoint; None: what the model's config says, else what the
            method's authors evaluate.
        anew: see :class:`StartingWeights`.

    Raises:
        UserError: the model has neither, or it is no pretraining that could begin anew.
        CheckpointError: the checkpoint does not fit.
    """
    model: Any = bare_model(runner)
    if anew and not isinstance(model, Pretrainer):
        raise UserError(
            f"--init begins a pretraining, and this config trains a {type(model).__name__}: use "
            f"--pretrained CKPT."
        )
    if anew:
        model.load_pretrained(path, source, runner.logger.info, anew=True)
        return
    if hasattr(model, "load_pretrained"):
        model.load_pretrained(path, source, runner.logger.info)
        return
    for name in ("backbone", "encoder"):
        if hasattr(model, name):
            preprocessor = getattr(model, "data_preprocessor", None)
            load_encoder(getattr(model, name), path, source, runner.logger.info, preprocessor)
            return
    raise UserError(f"--pretrained: {type(model).__name__} has neither backbone nor encoder.")
