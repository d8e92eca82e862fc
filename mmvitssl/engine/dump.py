"""What a training that ended in non-finite steps leaves behind, and the repetition of its step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmvitssl.checkpoint import own_types
from mmvitssl.checkpoint.description import read_config_text
from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.safe import load_file
from mmvitssl.checkpoint.sums import add_sums
from mmvitssl.config_tree import nodes
from mmvitssl.distributed import as_rank, rank
from mmvitssl.engine.batch_objects import from_plain, to_plain
from mmvitssl.engine.errors import UserError
from mmvitssl.randomness import seed_step
from mmvitssl.registry import MODELS, SCOPE
from mmvitssl.writing import WriteError, write_bytes

FORMAT = 1
KEY = "dump"
NEEDED = ("step", "rank", "seed", "message", "precision", "cfg")  # in its meta


def of_task(name: str) -> str:
    """', of task ...' for the name of a module or weight inside a task."""
    first, _, rest = name.partition(".")
    return f", of the task '{rest.partition('.')[0]}'" if first == "tasks" and rest else ""


def plain(value: Any) -> bool:
    """Whether a value is made of tensors, numbers, strings, lists and dicts alone."""
    if isinstance(value, Mapping):
        return all(plain(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    return value is None or isinstance(value, Tensor | int | float | str)


def _precision(wrapper: Any) -> dict[str, Any]:
    """In which precision a wrapper trains, and by what its gradient scaler multiplies losses."""
    scaler = getattr(wrapper, "loss_scaler", None)
    if scaler is None:
        return {"precision": getattr(wrapper, "precision", "fp32"), "scale": 1.0}
    sixteen = "bf16" if wrapper.cast_dtype == torch.bfloat16 else "fp16"
    return {"precision": sixteen, "scale": scaler.get_scale()}


def write_dump(
    runner: Any, model: nn.Module, batch: Any, images: list[str], message: str
) -> Path | None:
    """Write the state of a step, from which :func:`replay` repeats it.

    Args:
        runner: MMEngine's, in the training iteration.
        model: without its distributed wrapper.
        batch: as the loader gave it; left out where it holds objects that
            :func:`~mmvitssl.engine.batch_objects.to_plain` does not know.
        images: file names of the batch.
        message: what was found.

    Returns:
        ``non-finite_step<N>_rank<R>.dump`` in the work folder; None: there is no room for it.
    """
    path = Path(runner.work_dir) / f"non-finite_step{runner.iter + 1}_rank{rank()}.dump"
    wrapper = runner.optim_wrapper
    batch = to_plain(batch)
    content = {
        "meta": {
            KEY: FORMAT, "step": runner.iter + 1, "epoch": runner.epoch, "rank": rank(),
            "seed": runner.seed, "images": images, "message": message,
            **_precision(wrapper), "cfg": runner.cfg.pretty_text,
        },
        "state_dict": model.state_dict(),
        "optimizer": wrapper.state_dict() if hasattr(wrapper, "state_dict") else {},
        "batch": batch if plain(batch) else None,
    }  # fmt: skip
    add_sums(content)
    try:
        write_bytes(path, lambda file: torch.save(content, file))
    except WriteError as error:
        runner.logger.warning(f"There is no dump of this step: {error}")
        return None
    return path


def own_model(text: str, path: str | Path) -> dict[str, Any]:
    """The model's config in a dump: literals, with types of this package alone.

    Raises:
        UserError: it is more than that; a config of the user's own is asked for.
    """
    try:
        config = read_config_text(text, ("model",))["model"]
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} has no readable config of its model: name one by --config.") from (
            error
        )
    links = [text for _, text in nodes(config) if isinstance(text, str) and "://" in text]
    if links:
        raise UserError(f"{path} names {links[0]}, which is not fetched: name a --config.")
    try:
        return dict(own_types.own_model(config, f"{path}: model"))
    except (CheckpointError, TypeError, ValueError) as error:
        raise UserError(f"{error} Name your config by --config.") from error


class _Watch:
    """Notes the first tensor that is not finite, of all that modules compute."""

    def __init__(self) -> None:
        self.found: list[str] = []

    @contextmanager
    def on(self, model: nn.Module) -> Iterator[None]:
        handles = []
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(self._hook(name, "input")))
            handles.append(module.register_forward_hook(self._hook(name, "output")))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str, side: str) -> Any:
        def hook(module: nn.Module, *passed: Any) -> None:
            if not _finite(passed[0 if side == "input" else 1]):
                kind = type(module).__name__
                self.found.append(f"{side} of {name or 'the model'} ({kind}){of_task(name)}")

        return hook


def _finite(node: Any) -> bool:
    """Whether all tensors in it are finite."""
    tensors = [value for _, value in nodes(node) if isinstance(value, Tensor)]
    return all(not t.is_floating_point() or bool(t.isfinite().all()) for t in tensors)


def _joined(value: Any) -> Tensor:
    """A loss, of which detectors have one per level, as a vector."""
    parts = value if isinstance(value, list | tuple) else [value]
    return torch.cat([part.flatten() for part in parts])


def _bad(tensors: Mapping[str, Any]) -> list[str]:
    return [name for name, value in tensors.items() if value is not None and not _finite(value)]


def replay(path: str | Path, config: Config | None = None) -> list[str]:
    """Repeat the step of a dump.

    Args:
        path: of the dump.
        config: of the user; None: the model that the dump describes, if it is all of this package.

    Returns:
        Lines: the step, what was found in weights, batch, modules, losses and gradients, in the
        order of the computation.

    Raises:
        UserError: the file is no dump, or it holds no batch.
        CheckpointError: it cannot be read without running code, or it is damaged.
    """
    content = load_file(path)
    meta = content.get("meta")
    if not isinstance(meta, Mapping) or meta.get(KEY) != FORMAT:
        raise UserError(f"{path} is no dump of a training: those are named non-finite_*.dump.")
    missing = [key for key in NEEDED if key not in meta]
    if missing or "state_dict" not in content:
        raise CheckpointError(
            f"{path} is no whole dump: it lacks {', '.join(missing) or 'weights'}."
        )
    batch, images = content.get("batch"), meta.get("images") or []
    lines = [f"Step {meta['step']} of rank {meta['rank']}, seed {meta['seed']}.",
             f"Images: {', '.join(map(str, images)) or 'not known'}.",
             f"Then: {meta['message']}"]  # fmt: skip
    if batch is None:
        raise UserError("\n".join(
            [*lines, f"{path} holds no batch, as that of this training is made of other objects."]
        ))  # fmt: skip
    try:
        batch = from_plain(batch)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"The batch of {path} cannot be read: {error}.") from error
    if config is None:
        settings = own_model(str(meta["cfg"]), path)
        model: Any = own_types.build_model(settings, f"{path}: model")
    else:
        with DefaultScope.overwrite_default_scope(config.get("default_scope", SCOPE)):
            model = MODELS.build(config.model)
    if not isinstance(model, BaseModel):
        raise CheckpointError(f"{path} is of no training: its model is a {type(model).__name__}.")
    try:
        model.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(f"The weights of {path} are not its model's: {error}") from error
    seed_step(int(meta["seed"] or 0), int(meta["rank"]), int(meta["step"]) - 1)
    if hasattr(model, "iteration"):
        model.iteration = int(meta["step"]) - 1
    return lines + _repeat(model, batch, meta)


CASTS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def _repeat(model: Any, batch: Any, meta: Mapping[str, Any]) -> list[str]:
    """What is not finite when a batch goes forward and back."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    lines = []
    if wrong := _bad(dict(model.named_parameters())):
        lines.append(f"Weights that are not finite: {', '.join(wrong)}.")
    data = model.data_preprocessor(batch, True)
    cast: Any = nullcontext()
    if meta["precision"] in CASTS:
        cast = torch.autocast(device.type, dtype=CASTS[meta["precision"]])
    watch = _Watch()
    with as_rank(int(meta["rank"])), watch.on(model), cast:
        losses = model(**data, mode="loss")
    if watch.found:
        lines.append(f"First value that is not finite: {watch.found[0]}.")
    terms = {name: _joined(value) for name, value in losses.items() if "loss" in name}
    wrong = _bad(terms)
    lines.append(f"Losses that are not finite: {', '.join(wrong) or 'none'}.")
    total = torch.stack([value.sum() for value in terms.values()]).sum()
    (total * float(meta.get("scale", 1.0))).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    wrong = _bad(gradients)
    if wrong and not watch.found:  # the backward pass comes to the last module first
        lines.append(f"First gradient that is not finite: {wrong[-1]}{of_task(wrong[-1])}.")
    lines.append(f"Gradients that are not finite: {len(wrong)} of {len(gradients)}.")
    if not wrong and not watch.found:
        lines.append(f"Everything is finite on {device}.")
    return lines
