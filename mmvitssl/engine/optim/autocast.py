"""Mixed precision without loss scaling, on any device, and what DINO does to gradients."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmvitssl.compat import keep_boxes_in_float32
from mmvitssl.engine.optim.guard import StepGuard
from mmvitssl.registry import OPTIM_WRAPPERS


@torch.no_grad()
def clip_each(parameters: Iterable[Tensor], max_norm: float) -> None:
    """Scale the gradient of every tensor whose own norm is larger than ``max_norm`` to it.

    Many tensors at once and without waiting for the device (DINO clips so).
    """
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if grads:
        norms = torch._foreach_norm(grads)
        factors = [(max_norm / (norm + 1e-6)).clamp(max=1.0) for norm in norms]
        torch._foreach_mul_(grads, factors)


def clip_parts(groups: Iterable[dict[str, Any]], max_norm: float) -> None:
    """Clip the gradients of each part of the model by their joint norm (DINOv2 clips so).

    Args:
        groups: parameter groups that say their ``part``.
        max_norm: greatest norm of a part.

    Raises:
        ValueError: groups do not say it.
    """
    parts: dict[str, list[Tensor]] = {}
    for group in groups:
        if "part" not in group:
            raise ValueError(
                "AutocastOptimWrapper.clip_parts needs constructor="
                "'LayerDecayOptimWrapperConstructor', which says which part a parameter is of."
            )
        held = [parameter for parameter in group["params"] if parameter.grad is not None]
        parts.setdefault(group["part"], []).extend(held)
    for held in parts.values():
        nn.utils.clip_grad_norm_(held, max_norm)


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """bfloat16 autocast; its range is that of float32, so that no loss scaling is needed.

    MMEngine's ``AmpOptimWrapper`` always builds a gradient scaler and refuses CPUs.

    Args:
        precision: 'bf16', or 'fp32' for no autocast.
        clip_each: greatest norm of the gradient of each parameter by itself (DINO: 3), beside or
            in place of ``clip_grad``, which clips the norm of all.
        clip_parts: greatest norm of the gradients of each part of the model together: the encoder,
            and each task (DINOv2: 3).
        kwargs: see :class:`mmengine.optim.OptimWrapper`.

    Raises:
        ValueError: an unknown precision, or a norm that is not positive.
    """

    def __init__(
        self,
        precision: str = "bf16",
        clip_each: float | None = None,
        clip_parts: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        norms = [norm for norm in (clip_each, clip_parts) if norm is not None]
        if precision not in ("bf16", "fp32") or any(norm <= 0 for norm in norms):
            raise ValueError(
                f"AutocastOptimWrapper needs precision 'bf16' or 'fp32' and a positive clip_each "
                f"and clip_parts; got '{precision}', {clip_each} and {clip_parts}."
            )
        if precision == "bf16" and "mmdet" in sys.modules:
            keep_boxes_in_float32()
        self.precision, self.clip_norm, self.part_norm = precision, clip_each, clip_parts
        self.device_type = get_device()
        self.frozen: list[nn.Parameter] = []
        self.defer_logs = False  # DeferredLogsHook reads the norm when the log is written
        self.last_grad_norm: Tensor | None = None
        self.guard: StepGuard | None = None  # set by NonFiniteHook

    def _clip_grad(self) -> None:
        if not self.defer_logs:
            super()._clip_grad()
            return
        groups = self.optimizer.param_groups
        held = [p for group in groups for p in group["params"] if p.grad is not None]
        if held:
            norm = self.clip_func(held, **self.clip_grad_kwargs)
            self.last_grad_norm = norm.detach() if torch.is_tensor(norm) else None

    def step(self, **kwargs: Any) -> None:
        """Drop the gradients of frozen parameters, clip, and move the others.

        With a guard, a step whose losses or gradients are not finite moves nothing.
        """
        for parameter in self.frozen:
            parameter.grad = None
        if self.guard is not None:
            self.guard.look(self.optimizer)
            if self.defer_logs and not self.clip_grad_kwargs:
                self.last_grad_norm = self.guard.norm
        if self.clip_norm is not None:
            groups = self.optimizer.param_groups
            clip_each((p for group in groups for p in group["params"]), self.clip_norm)
        if self.part_norm is not None:
            clip_parts(self.optimizer.param_groups, self.part_norm)
        super().step(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The forward pass and the losses of a training step run in here."""
        cast: Any = nullcontext()
        if self.precision == "bf16":
            cast = torch.autocast(self.device_type, dtype=torch.bfloat16)
        with super().optim_context(model), cast:
            yield
