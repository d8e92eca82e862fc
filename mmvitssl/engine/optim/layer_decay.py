"""Layer-wise learning-rate decay."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from mmvitssl.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS

KEYS = {"decay_rate", "no_decay", "one_dimensional_decay", "custom_keys"}


@runtime_checkable
class Layered(Protocol):
    """A module that knows the layers of its parameters: a backbone, or what holds one."""

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """Layer of a parameter, and number of layers."""


def encoder_of(model: nn.Module) -> tuple[str, Layered]:
    """Name prefix and module that knows its layer depths.

    Raises:
        ValueError: the model has neither a ``backbone`` nor an ``encoder`` that knows them.
    """
    for name in ("backbone", "encoder"):
        module = getattr(model, name, None)
        if isinstance(module, Layered):
            return f"{name}.", module
    raise ValueError(
        f"LayerDecayOptimWrapperConstructor needs a model whose backbone or encoder has "
        f"get_layer_depth; {type(model).__name__} has none."
    )


def part_of(name: str) -> str:
    """The encoder, or the task, that a parameter belongs to."""
    names = name.split(".")
    return ".".join(names[: 2 if names[0] == "tasks" else 1])


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Scale the learning rate of layer l of L by ``decay_rate ** (L - 1 - l)``.

    The encoder says which layer a parameter is in; everything outside it (neck, heads) has factor
    1. This is the rule of BEiT, MAE, CAE and ViTDet.

    ``paramwise_cfg``:
        decay_rate: factor from layer to layer, in (0, 1].
        no_decay: parameter names (or their ends) without weight decay.
        one_dimensional_decay: whether biases and norms are decayed; False by default.
        custom_keys: name part -> ``dict(lr_mult=, decay_mult=)``; the longest match counts.

    Raises:
        ValueError: an unknown key, a rate outside (0, 1], or a model without layer depths.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(optim_wrapper_cfg, None)
        settings = dict(paramwise_cfg or {})
        unknown = set(settings) - KEYS
        if unknown:
            raise ValueError(
                f"paramwise_cfg has unknown keys {sorted(unknown)}; "
                f"LayerDecayOptimWrapperConstructor knows {sorted(KEYS)}."
            )
        self.decay_rate = float(settings.get("decay_rate", 1.0))
        if not 0 < self.decay_rate <= 1:
            raise ValueError(f"paramwise_cfg.decay_rate={self.decay_rate} must lie in (0, 1].")
        self.no_decay = tuple(settings.get("no_decay", ()))
        self.one_dimensional_decay = bool(settings.get("one_dimensional_decay", False))
        self.custom_keys = dict(settings.get("custom_keys", {}))

    def _custom(self, name: str) -> dict[str, float]:
        matches = [key for key in self.custom_keys if key in name]
        return self.custom_keys[max(matches, key=len)] if matches else {}

    def _decay(self, name: str, parameter: nn.Parameter) -> float:
        exempt = parameter.ndim <= 1 and not self.one_dimensional_decay
        if exempt or any(name.endswith(end) for end in self.no_decay):
            return 0.0
        return float(self.base_wd or 0.0)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """One group for each learning rate and weight decay; frozen parameters are left out."""
        prefix, encoder = encoder_of(model)
        groups: dict[tuple[float, float, str], dict[str, Any]] = {}
        apart = self.optim_wrapper_cfg.get("clip_parts") is not None
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            factor = 1.0
            if name.startswith(prefix):
                layer, layers = encoder.get_layer_depth(name[len(prefix) :])
                factor = self.decay_rate ** (layers - 1 - layer)
            custom = self._custom(name)
            factor *= custom.get("lr_mult", 1.0)
            decay = self._decay(name, parameter) * custom.get("decay_mult", 1.0)
            part = part_of(name) if apart else ""
            group = groups.setdefault(
                (factor, decay, part),
                {"params": [], "lr": self.base_lr * factor, "weight_decay": decay},
            )
            group.update({"part": part} if apart else {})
            group["params"].append(parameter)
        return list(groups.values())

    def __call__(self, model: Any) -> OptimWrapper:
        """Build the optimizer and its wrapper."""
        if hasattr(model, "module"):
            model = model.module
        groups = self.parameter_groups(model)
        rates = [group["lr"] for group in groups]
        print_log(
            f"Layer-wise decay {self.decay_rate}: {len(groups)} parameter groups, learning rates "
            f"{min(rates):.3g} to {max(rates):.3g}.",
            logger="current",
        )
        optimizer = OPTIMIZERS.build({**self.optimizer_cfg, "params": groups})
        wrapper = {"type": "OptimWrapper", **self.optim_wrapper_cfg}
        return OPTIM_WRAPPERS.build(wrapper, default_args={"optimizer": optimizer})
