"""What a config says of hooks and schedules, looked at before a model is built."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS, PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner

from mmvitssl.engine.errors import UserError

# hooks that MMEngine adds where the config does not name them
DEFAULT_HOOKS: dict[str, str] = dict(
    runtime_info="RuntimeInfoHook",
    timer="IterTimerHook",
    sampler_seed="DistSamplerSeedHook",
    logger="LoggerHook",
    param_scheduler="ParamSchedulerHook",
    checkpoint="CheckpointHook",
)


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{near[0]}'? " if near else f"It knows {', '.join(names)}. "


def _arguments(owner: Any) -> tuple[set[str], bool]:
    """Names of the arguments of a class, and whether it takes any other."""
    parameters = inspect.signature(owner).parameters.values()
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    names = {parameter.name for parameter in parameters if parameter.kind not in kinds}
    return names, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def check_hooks(config: Config, scope: str) -> None:
    """Look at the arguments of hooks, some of which are read only when a checkpoint is saved.

    Raises:
        UserError: a hook or one of its arguments is misspelt, with the nearest name.
    """
    hooks = [(f"default_hooks.{k}", v) for k, v in (config.get("default_hooks") or {}).items()]
    hooks += [(f"custom_hooks.{n}", v) for n, v in enumerate(config.get("custom_hooks") or [])]
    for name, hook in hooks:
        if not isinstance(hook, dict):
            continue
        kind = hook.get("type") or DEFAULT_HOOKS.get(name.partition(".")[2])
        if kind is None:
            raise UserError(
                f"{name} has no type: {_nearest(name.partition('.')[2], DEFAULT_HOOKS)}"
                f"Hooks of your own say their type."
            )
        with HOOKS.switch_scope_and_registry(scope) as registry:
            owner = registry.get(kind) if isinstance(kind, str) else kind
        if owner is not None:
            _check_arguments(name, hook, owner)


def _check_arguments(name: str, hook: dict[str, Any], owner: Any) -> None:
    known, any_other = _arguments(owner)
    if inspect.isclass(owner) and issubclass(owner, CheckpointHook):
        known |= {
            *_arguments(CheckpointHook)[0],
            *inspect.signature(Runner.save_checkpoint).parameters,
        } - {"self", "filename", "meta"}
    elif any_other:
        return
    for key in hook:
        if key not in known and key not in ("type", "_scope_", "priority"):
            raise UserError(
                f"{name} sets '{key}', and {owner.__name__} has no such argument: "
                f"{_nearest(key, known)}".rstrip()
            )


def check_schedulers(config: Config, scope: str) -> None:
    """Build the schedulers of the config for an optimizer of one number.

    Raises:
        UserError: one cannot be built, with its place in the config.
    """
    stated = config.get("param_scheduler") or []
    groups = stated.values() if isinstance(stated, dict) and "type" not in stated else [stated]
    schedulers = [
        one for group in groups for one in (group if isinstance(group, list) else [group])
    ]
    for number, scheduler in enumerate(schedulers):
        if not isinstance(scheduler, dict):
            continue
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0, momentum=0.9)
        arguments = dict(optimizer=optimizer, epoch_length=1000)
        try:
            with DefaultScope.overwrite_default_scope(scope):
                PARAM_SCHEDULERS.build(dict(scheduler), default_args=arguments)
        except (TypeError, ValueError, KeyError, AssertionError) as error:
            raise UserError(
                f"param_scheduler.{number} ({scheduler.get('type')}): {error.args[0]}"
                if error.args
                else f"param_scheduler.{number} ({scheduler.get('type')}) cannot be built."
            ) from error
