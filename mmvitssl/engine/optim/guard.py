"""Skips optimizer steps with non-finite losses or gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn
from torch.optim import Optimizer

from mmvitssl.distributed import world_size
from mmvitssl.engine.sharding import is_sharded


def any_process(flags: Tensor) -> Tensor:
    """Bool flags of any shape, true where they are on some process."""
    if world_size() == 1:
        return flags
    numbers = flags.float()
    dist.all_reduce(numbers, op=dist.ReduceOp.MAX)
    return numbers > 0


class Losses(NamedTuple):
    """Terms of the total loss: their names and (K,) values on the device."""

    names: list[str]
    values: Tensor


class Decision(NamedTuple):
    """What was found before an optimizer step.

    Attributes:
        bad: bool scalar on the device, the same on all processes: the step was skipped.
        finite: (N,) bool, whether the norm of each gradient is finite.
        names: N names of parameters.
    """

    bad: Tensor
    finite: Tensor
    names: list[str]


class StepGuard:
    """Look at losses and gradients before every optimizer step, and skip bad ones.

    The decision is made on the device, and is the same on all processes. A bad step changes
    nothing: neither weights nor states of the optimizer, and buffers (statistics of batch norms,
    queues, centres) are put back to what they were before its forward pass. An optimizer that is
    ``fused`` skips on the device; any other has no such switch, and the decision is waited for.

    With ``AutocastOptimWrapper`` and with a gradient scaler (float16), gradients are looked at
    before clipping, which spreads NaN to all of them; with any other wrapper right before the
    optimizer's step. Gradients that overflow because of the scale are the scaler's to skip, and not
    bad: it halves its scale then. Below a scale of 1, or with one that stays, they are bad.

    Args:
        model: the runner's model, with its distributed wrapper.
        wrapper: its optimizer wrapper, or a dict of some.
    """

    def __init__(self, model: nn.Module, wrapper: Any) -> None:
        self._names = {p: name.removeprefix("module.") for name, p in model.named_parameters()}
        self._buffers = [b for b in model.buffers() if b.is_floating_point()]
        self._saved = [buffer.clone() for buffer in self._buffers]
        self._losses: Losses | None = None
        self._decision: Decision | None = None
        self._whole = not is_sharded(model)
        self.norm: Tensor | None = None  # of all gradients of the last step; None: in shards
        self._handles: list[Any] = [
            model.register_forward_pre_hook(self._save, with_kwargs=True),
            model.register_forward_hook(self._keep_losses, with_kwargs=True),
        ]
        wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        self._wrappers = list(wrappers)
        for one in self._wrappers:
            self._handles.append(one.optimizer.register_step_post_hook(_forget))
            if hasattr(one, "guard"):
                one.guard = self
            elif hasattr(one, "loss_scaler"):
                self._handles.append(_OnScaler(self, one))
            else:
                before = one.optimizer.register_step_pre_hook(self._before_step)
                self._handles.append(before)

    def remove(self) -> None:
        """Leave the model and the optimizer as they were."""
        for handle in self._handles:
            handle.remove()
        for one in self._wrappers:
            if hasattr(one, "guard"):
                one.guard = None

    def _save(self, module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
        if kwargs.get("mode") == "loss" and self._buffers:
            torch._foreach_copy_(self._saved, self._buffers)

    def _keep_losses(
        self, module: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any
    ) -> None:
        if kwargs.get("mode") != "loss" or not isinstance(output, dict):
            return
        terms = [
            (name, term.detach().float().sum())
            for name, value in output.items()
            if "loss" in name  # as MMEngine sums them
            for term in (value if isinstance(value, (list, tuple)) else [value])
            if torch.is_tensor(term)
        ]
        if terms:
            names, values = zip(*terms, strict=True)
            self._losses = Losses(list(names), torch.stack(values))

    @torch.no_grad()
    def look(self, optimizer: Optimizer, overflow: Tensor | None = None) -> None:
        """Decide about the step that ``optimizer`` is about to do.

        Args:
            optimizer: with its gradients.
            overflow: bool scalar of a gradient scaler, whether its scale may be the reason of
                gradients that are not finite; None: there is no scaler.
        """
        if overflow is None and getattr(optimizer, "found_inf", None) is not None:
            return  # a gradient scaler has decided
        held = [p for group in optimizer.param_groups for p in group["params"]
                if p.grad is not None]  # fmt: skip
        if not held:
            return
        norms = torch._foreach_norm([parameter.grad for parameter in held])
        device = norms[0].device
        lengths = torch.stack([norm.to(device, torch.float32) for norm in norms])
        finite = lengths.isfinite()
        self.norm = lengths.norm() if self._whole else None
        bad = ~finite.all()
        if overflow is not None:
            bad = bad & ~overflow.to(device)
        if self._losses is not None:
            bad = bad | ~self._losses.values.isfinite().all().to(device)
        bad = any_process(bad)
        self._decision = Decision(bad, finite, [self._names.get(p, "?") for p in held])
        _skip(optimizer, held, bad, on_device=overflow is None)

    def _before_step(self, optimizer: Optimizer, *_: Any) -> None:
        self.look(optimizer)

    def take(self) -> tuple[Losses | None, Decision | None]:
        """What this iteration's losses and step were; they are forgotten here."""
        taken = self._losses, self._decision
        self._losses = self._decision = None
        return taken

    @torch.no_grad()
    def restore(self, bad: Tensor) -> None:
        """Where ``bad``, give the buffers the values from before the forward pass."""
        if bad.device.type == "cpu":
            if bad:
                torch._foreach_copy_(self._buffers, self._saved)
            return
        for buffer, saved in zip(self._buffers, self._saved, strict=True):
            buffer.copy_(torch.where(bad, saved, buffer))


class _OnScaler:
    """Lets a guard look at gradients as soon as a gradient scaler has divided them by its scale."""

    def __init__(self, guard: StepGuard, wrapper: Any) -> None:
        self.guard, self.scaler = guard, wrapper.loss_scaler
        self.stays = wrapper._scale_update_param is not None
        self.looked = False
        self._unscale, self._step = self.scaler.unscale_, self.scaler.step
        self.scaler.unscale_, self.scaler.step = self.unscale, self.step

    def unscale(self, optimizer: Optimizer) -> None:
        """Divide, and look."""
        self._unscale(optimizer)
        scale = self.scaler._scale  # get_scale() would wait for the device
        self.guard.look(optimizer, torch.zeros_like(scale) > 0 if self.stays else scale > 1)
        self.looked = True

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """The scaler's step, which skips what overflows."""
        if not self.looked:  # gradients that are clipped were divided before
            self.unscale(optimizer)
        self.looked = False
        return self._step(optimizer, *args, **kwargs)

    def remove(self) -> None:
        """Leave the scaler as it was."""
        del self.scaler.unscale_, self.scaler.step


def _skip(
    optimizer: Optimizer, held: Sequence[nn.Parameter], bad: Tensor, on_device: bool = True
) -> None:
    if on_device and all(group.get("fused") for group in optimizer.param_groups):
        optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        optimizer.found_by_guard = True  # type: ignore[attr-defined]
    elif bad:
        for parameter in held:
            parameter.grad = None


def _forget(optimizer: Optimizer, *_: Any) -> None:
    """Take back what told a fused optimizer to skip; a gradient scaler's it takes back itself."""
    if getattr(optimizer, "found_by_guard", False):
        del optimizer.found_inf, optimizer.found_by_guard  # type: ignore[attr-defined]
