"""Stops a training whose losses, gradients or weights are not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook, LoggerHook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn

from mmvitssl.engine.dump import of_task, write_dump
from mmvitssl.engine.launch import UserError, bare_model
from mmvitssl.engine.optim.guard import Decision, Losses, StepGuard, any_process
from mmvitssl.registry import HOOKS

SHOWN = 8  # names in a message
ADVICE = (
    "Lower optim_wrapper.optimizer.lr or lengthen its warm-up, clip gradients "
    "(optim_wrapper.clip_grad=dict(max_norm=1.0)), use --amp bf16 in place of fp16, or look at the "
    "images named here."
)


class NonFiniteError(UserError):
    """Losses, gradients or weights became NaN or infinite."""


def non_finite(tensors: dict[str, Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or infinity; waits for the device once."""
    chosen = {k: v for k, v in tensors.items() if v.is_floating_point() and v.numel()}
    if not chosen:
        return []
    device = next(iter(chosen.values())).device
    flags = torch.stack([value.isfinite().all().to(device) for value in chosen.values()])
    return [name for name, fine in zip(chosen, flags.tolist(), strict=True) if not fine]


def held_tensors(runner: Runner) -> dict[str, Tensor]:
    """Parameters and buffers of the model and of its average, and states of optimizers, by name."""
    model = bare_model(runner)
    tensors = {name: p.detach() for name, p in model.named_parameters()}
    names = {p: name for name, p in model.named_parameters()}
    tensors.update(model.named_buffers())
    for hook in runner.hooks:  # of averaged weights, which are saved in place of the trained
        average = getattr(hook, "ema_model", None)
        if isinstance(average, nn.Module):
            tensors.update({f"EMA: {n}": p.detach() for n, p in average.named_parameters()})
    wrapper = runner.optim_wrapper
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    for one in wrappers:
        for parameter, state in one.optimizer.state.items():
            owner = names.get(parameter, "?")
            tensors.update({f"{owner} ({key})": value for key, value in state.items()
                            if torch.is_tensor(value)})  # fmt: skip
    return tensors


def some(names: list[str]) -> str:
    """The first names, and how many there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def images_of(batch: Any, dataset: Any) -> list[str]:
    """What a batch says of its images: file names, else indices; empty where it says nothing."""
    if not isinstance(batch, dict):
        return []
    if "samples" in batch and "index" in batch["samples"]:
        paths = getattr(dataset, "paths", None)
        indices = [int(index) for index in batch["samples"]["index"]]
        return [f"image {i}" if paths is None else str(paths[i]) for i in indices]
    samples = batch.get("data_samples") or []
    names = [getattr(sample, "img_path", None) for sample in samples]
    return [str(name) for name in names if name is not None]


@dataclass
class Iteration:
    """One iteration until its flags are read."""

    step: int
    bad: Tensor
    losses: Losses | None
    decision: Decision | None
    images: list[str]

    def found(self) -> dict[str, Any]:
        """What was not finite on this process."""
        found: dict[str, Any] = {"losses": [], "gradients": [], "number": 0, "images": self.images}
        if self.losses is not None:
            values = zip(self.losses.names, self.losses.values.tolist(), strict=True)
            found["losses"] = [f"{name} = {v}" for name, v in values if not math.isfinite(v)]
        if self.decision is not None:
            flags = self.decision.finite.tolist()
            pairs = zip(self.decision.names, flags, strict=True)
            found["gradients"] = [name for name, fine in pairs if not fine]
            found["number"] = len(flags)
        return found


def in_words(parts: list[dict[str, Any]]) -> str:
    """What the processes found, as sentences."""
    losses = sorted({loss for part in parts for loss in part["losses"]})
    words = [f"Loss terms: {some(losses)}." if losses else "The losses are finite."]
    gradients = next((part for part in parts if part["gradients"]), None)
    if gradients:
        names = gradients["gradients"]
        words.append(
            f"First parameter with a non-finite gradient: {names[0]}{of_task(names[0])} "
            f"({len(names)} of {gradients['number']})."
        )
    guilty = [part for part in parts if part["losses"]] or parts
    images = [name for part in guilty for name in part["images"]]
    if images:
        words.append(f"Images of the batch: {some(images)}.")
    return " ".join(words)


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Skip steps whose losses or gradients are not finite, and stop when there are too many.

    Such a step is not applied (:class:`~mmvitssl.engine.optim.guard.StepGuard`), on no process if
    on one. Skipped steps are logged with loss terms, parameter and images. The training ends with
    an error when ``in_a_row`` steps in a row are bad, when more than ``share`` of all steps (and
    more than ``in_a_row``) are, or when it ends in a bad step and more than ``share`` were. Steps
    that a gradient scaler skips because of its scale (float16) are not counted. After a resume the
    counts start anew.

    Flags stay on the device and are read when a log line is written, before a checkpoint is, and
    on CPUs after every step. Weights that are not finite before the first step are an error, and
    none is ever written to a checkpoint.

    ``tools/train.py`` adds this hook to every training; put it into ``default_hooks`` to change
    its numbers.

    Args:
        in_a_row: bad steps in a row that end the training.
        share: of all steps, that may be bad.

    Raises:
        ValueError: ``in_a_row`` below 1, or a share outside [0, 1].
    """

    priority = "HIGH"  # before the momentum target moves, logs and checkpoints

    def __init__(self, in_a_row: int = 3, share: float = 0.01) -> None:
        if in_a_row < 1 or not 0 <= share <= 1:
            raise ValueError(
                f"NonFiniteHook needs in_a_row >= 1 and share in [0, 1]; got {in_a_row}, {share}."
            )
        self.in_a_row, self.share = in_a_row, share
        self._held: list[Iteration] = []
        self._guard: StepGuard | None = None
        self._constants: set[str] = set()
        self._streak = self._total = self._checked = 0
        self._interval = 1

    def before_train(self, runner: Runner) -> None:
        """Raises NonFiniteError if a weight is not finite before the first step."""
        model = bare_model(runner)
        wrong = non_finite({name: p.detach() for name, p in model.named_parameters()})
        if wrong:
            raise NonFiniteError(
                f"Before the first step, {len(wrong)} weights are not finite: {some(wrong)}. "
                f"The checkpoint that they come from is broken: use an earlier one."
            )
        self._constants = set(non_finite(dict(model.named_buffers())))  # such as masks of -inf
        self._streak = self._total = 0
        self._checked = -1
        self._held.clear()
        self._guard = StepGuard(runner.model, runner.optim_wrapper)
        device = next(model.parameters()).device
        intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._interval = 1 if device.type == "cpu" else min(intervals, default=1)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Raises NonFiniteError when too many steps were bad."""
        if self._guard is None:
            return
        losses, decision = self._guard.take()
        if losses is None and decision is None:
            return
        if decision is not None:
            bad = decision.bad
        else:  # accumulating, or skipped by a gradient scaler
            assert losses is not None
            bad = ~losses.values.isfinite().all()
        self._guard.restore(bad)
        images = images_of(data_batch, runner.train_dataloader.dataset)
        self._held.append(Iteration(runner.iter + 1, bad, losses, decision, images))
        if (
            self.every_n_inner_iters(batch_idx, self._interval)
            or self.every_n_train_iters(runner, self._interval)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
            or self.is_last_train_iter(runner)
        ):
            self.read(runner, data_batch)

    def read(self, runner: Runner, data_batch: Any = None) -> None:
        """Read the flags of all iterations since the last time; all processes must call it.

        Raises:
            NonFiniteError: too many steps were bad.
        """
        if not self._held:
            return
        held, self._held = self._held, []
        flags = any_process(torch.stack([one.bad for one in held])).tolist()
        for one, bad in zip(held, flags, strict=True):
            self._streak = self._streak + 1 if bad else 0
            self._total += bool(bad)
            if not bad:
                continue
            found = in_words(all_gather_object(one.found()))
            most = max(self.in_a_row, int(self.share * runner.max_iters))
            last = one.step >= runner.max_iters and self._total > self.share * runner.max_iters
            if self._streak >= self.in_a_row or self._total > most or last:
                self._stop(runner, one, found, data_batch)
            runner.logger.warning(
                f"Step {one.step} was skipped: its losses or gradients are not finite. {found} "
                f"({self._total} of at most {most} such steps, {self.in_a_row} in a row end the "
                f"training.)"
            )

    def _stop(self, runner: Runner, one: Iteration, found: str, data_batch: Any) -> None:
        how = f"in {self._streak} steps in a row" if self._streak > 1 else "in the last step"
        if self._streak < self.in_a_row and one.step < runner.max_iters:
            how = f"in {self._total} of {one.step} steps"
        images = images_of(data_batch, runner.train_dataloader.dataset)
        path = write_dump(runner, bare_model(runner), data_batch, images, found)
        weights = non_finite(held_tensors(runner))
        weights = [name for name in weights if name not in self._constants]
        words = [
            f"Training stopped at step {one.step}: losses or gradients were not finite {how}.",
            found,
        ]
        if weights:
            words.append(f"Weights that are not finite: {some(weights)}.")
        else:
            words.append(_first_module(runner, data_batch))
        words += ["No such step was applied, and no checkpoint holds it.", ADVICE]
        if path is not None:
            words.append(f"`mmvitssl replay {path}` repeats the step.")
        raise NonFiniteError(" ".join(words))

    def check_weights(self, runner: Runner) -> None:
        """Refuse to write weights or optimizer states that are not finite; on all processes.

        Raises:
            NonFiniteError: there are some.
        """
        self.read(runner)
        wrong = [name for name in non_finite(held_tensors(runner)) if name not in self._constants]
        device = next(bare_model(runner).parameters()).device
        if bool(any_process(torch.tensor(bool(wrong), device=device))):
            raise NonFiniteError(
                f"At step {runner.iter + 1}, before a checkpoint was written, weights or states of "
                f"the optimizer are not finite: {some(wrong) or 'on another process'}. No "
                f"checkpoint was written or removed. {ADVICE}"
            )
        self._checked = runner.iter

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Raises NonFiniteError rather than write a file of weights that are not finite."""
        if self._guard is None or self._checked == runner.iter:
            return
        state = checkpoint.get("state_dict", {})
        tensors = {name: value for name, value in state.items() if torch.is_tensor(value)}
        wrong = [name for name in non_finite(tensors) if name not in self._constants]
        if wrong:
            raise NonFiniteError(
                f"Weights are not finite: {some(wrong)}. No checkpoint was written. {ADVICE}"
            )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Warn of metrics that are no numbers."""
        wrong = non_finite_metrics(metrics or {})
        if wrong:
            runner.logger.warning(f"Metrics that are not finite, and no result: {some(wrong)}.")

    def after_train(self, runner: Runner) -> None:
        """Read what is left, and leave the model as it was."""
        if self._guard is not None:
            self.read(runner)
            self._guard.remove()
            self._guard = None


def non_finite_metrics(metrics: dict[str, Any]) -> list[str]:
    """Names of metrics that are NaN or infinite."""
    return [
        name
        for name, value in metrics.items()
        if isinstance(value, (float, int)) and not math.isfinite(value)
    ]


@torch.no_grad()
def _first_module(runner: Runner, data_batch: Any) -> str:
    """Run the last batch again and name the first module whose output is not finite."""
    model: Any = bare_model(runner)
    found: list[str] = []

    def look(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            parts = output if isinstance(output, (tuple, list)) else [output]
            tensors = [p for p in parts if torch.is_tensor(p) and p.is_floating_point()]
            if not found and not all(bool(tensor.isfinite().all()) for tensor in tensors):
                found.append(name)

        return hook

    if data_batch is None:
        return ""
    leaves = [(n, m) for n, m in model.named_modules() if not any(m.children())]
    handles = [module.register_forward_hook(look(name)) for name, module in leaves]
    try:
        with runner.optim_wrapper.optim_context(model):
            data = model.data_preprocessor(data_batch, True)
            model._run_forward(data, mode="loss")
    except Exception as error:  # of a broken model anything may come; the report goes on
        return f"(The batch could not be run again: {type(error).__name__}: {error})"
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        return "Every module's output is finite when the last batch is run again."
    return f"First module with a non-finite output: {found[0]}{of_task(found[0])}."
