"""What a config says of hooks, loaders, optimizer and schedules, before a model is built."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS, PARAM_SCHEDULERS, DefaultScope, Registry
from mmengine.runner import LogProcessor, Runner
from torch.utils.data import DataLoader

from mmvitssl import registry
from mmvitssl.config_tree import nodes
from mmvitssl.engine.build_errors import known_names, wrong_arguments, wrong_values
from mmvitssl.engine.errors import UserError

BUILT = (
    "model", "train_dataloader", "val_dataloader", "test_dataloader", "val_evaluator",
    "test_evaluator", "default_hooks", "custom_hooks", "visualizer", "optim_wrapper",
)  # fmt: skip
LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
# that MMEngine takes out before it builds a DataLoader
LOADER_KEYS = ("num_batch_per_epoch",)
ENVIRONMENT = ("cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit", "dynamo_cache_size")
WRAPPER_KEYS = (
    "type", "constructor", "optimizer", "paramwise_cfg", "accumulative_counts", "clip_grad",
    "clip_each", "clip_parts", "precision", "dtype", "loss_scale", "use_fsdp",
)  # fmt: skip
OPTIMIZER_NUMBERS = ("lr", "weight_decay", "momentum", "eps", "dampening")
RULES = ("lr_mult", "decay_mult")
PARAMWISE = (
    "custom_keys", "norm_decay_mult", "bias_decay_mult", "bias_lr_mult", "dwconv_decay_mult",
    "dcn_offset_lr_mult", "flat_decay_mult", "bypass_duplicate",
)  # fmt: skip
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


def check_parts(config: Config) -> None:
    """Look at what MMEngine reads late, or whose errors name nothing of the config.

    Raises:
        UserError: a part is missing, a key is misspelt, or a number is none, with its range.
    """
    for part in ("model", "train_dataloader", "train_cfg", "optim_wrapper"):
        if not isinstance(config.get(part), dict):
            raise UserError(f"The config has no {part}, which a training needs.")
    for key, value in nodes(config.to_dict()):
        if isinstance(value, float) and math.isnan(value):
            raise UserError(f"{key} is NaN, which is no number to compute with.")
    for name in LOADERS:
        if isinstance(config.get(name), dict):
            _check_loader(name, config[name])
    _check_keys("env_cfg", config.get("env_cfg") or {}, ENVIRONMENT)
    _check_logs(config.get("log_processor") or {})
    _check_length(config.train_cfg)
    _check_scaling(config.get("auto_scale_lr") or {})
    if not isinstance(config.get("resume", False), bool):
        raise UserError(f"resume={config.resume!r} must be True or False; --resume takes a file.")
    _check_optimizer(config.optim_wrapper)


def _check_keys(name: str, part: dict[str, Any], known: Iterable[str]) -> None:
    for key in part:
        if key not in {*known, "type", "_scope_"}:
            raise UserError(
                f"{name} sets '{key}', which nothing reads: {_nearest(key, known)}".rstrip()
            )


def _check_number(
    place: str, value: Any, low: float = 0, whole: bool = False, above: bool = False
) -> None:
    kind = int if whole else (int, float)
    good = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not (value > low if above else value >= low):
        words = "a whole number" if whole else "a number"
        raise UserError(f"{place}={value!r} must be {words} {'above' if above else 'from'} {low:g}"
                        f"{'' if above else ' on'}.")  # fmt: skip


def _check_loader(name: str, loader: dict[str, Any]) -> None:
    """The keys of a loader, and its numbers."""
    known = {*inspect.signature(DataLoader.__init__).parameters, *LOADER_KEYS} - {"self"}
    _check_keys(name, loader, known)
    if "dataset" not in loader:
        raise UserError(f"{name} has no dataset.")
    for key, low in (("batch_size", 1), ("num_workers", 0), ("prefetch_factor", 1)):
        batched = key == "batch_size" and loader.get("batch_sampler") is not None
        optional = key == "prefetch_factor" and loader.get(key) is None
        if key in loader and not batched and not optional:
            _check_number(f"{name}.{key}", loader[key], low, whole=True)
    for key in ("drop_last", "persistent_workers", "pin_memory"):
        if not isinstance(loader.get(key, False), bool):
            raise UserError(f"{name}.{key}={loader[key]!r} must be True or False.")
    for key in ("sampler", "collate_fn"):
        kind = loader[key].get("type") if isinstance(loader.get(key), dict) else "any"
        if not isinstance(kind, str) and not callable(kind):
            raise UserError(f"{name}.{key}.type={kind!r} must be a name.")


def _check_logs(processor: dict[str, Any]) -> None:
    _check_keys("log_processor", processor, _arguments(LogProcessor)[0])
    if "window_size" in processor:
        _check_number("log_processor.window_size", processor["window_size"], 1, whole=True)


def _check_length(settings: dict[str, Any]) -> None:
    """How long a training is, and how often it is evaluated."""
    for key in ("max_epochs", "max_iters", "val_begin", "val_interval"):
        if settings.get(key) is not None:
            _check_number(f"train_cfg.{key}", settings[key], 1, whole=True)


def _check_scaling(settings: dict[str, Any]) -> None:
    _check_keys("auto_scale_lr", settings, ("base_batch_size", "enable"))
    if "base_batch_size" in settings:
        _check_number("auto_scale_lr.base_batch_size", settings["base_batch_size"], 1, whole=True)


def _check_clipping(clip: Any) -> None:
    """Arguments of torch's ``clip_grad_norm_`` or ``clip_grad_value_``, without the parameters."""
    if not isinstance(clip, dict):
        return  # MMEngine says so
    kind = clip.get("type", "norm")
    clips = {"norm": torch.nn.utils.clip_grad_norm_, "value": torch.nn.utils.clip_grad_value_}
    if kind in clips:
        _check_keys("optim_wrapper.clip_grad", clip, _arguments(clips[kind])[0] - {"parameters"})
    for key in ("max_norm", "clip_value"):
        if key in clip:
            _check_number(f"optim_wrapper.clip_grad.{key}", clip[key], above=True)


def _check_optimizer(wrapper: dict[str, Any]) -> None:
    if "constructor" in wrapper and "optimizer" not in wrapper:
        return  # a constructor of the user's own
    for key in wrapper:
        near = difflib.get_close_matches(key, WRAPPER_KEYS, n=1, cutoff=0.85)
        if near and key not in WRAPPER_KEYS:
            raise UserError(
                f"optim_wrapper sets '{key}', which nothing reads: did you mean '{near[0]}'?"
            )
    _check_clipping(wrapper.get("clip_grad"))
    if wrapper.get("accumulative_counts") is not None:
        counts = wrapper["accumulative_counts"]
        _check_number("optim_wrapper.accumulative_counts", counts, 1, whole=True)
    optimizer = wrapper.get("optimizer")
    if not isinstance(optimizer, dict) or "type" not in optimizer:
        raise UserError(
            "optim_wrapper.optimizer must be the config of an optimizer, such as "
            "dict(type='AdamW', lr=1e-3)."
        )
    for key in OPTIMIZER_NUMBERS:
        if key in optimizer:
            _check_number(f"optim_wrapper.optimizer.{key}", optimizer[key])
    kind, names = optimizer["type"], known_names(registry.OPTIMIZERS)
    if isinstance(kind, str) and "." not in kind and kind not in names:
        raise UserError(
            f"optim_wrapper.optimizer: {kind} is no optimizer: {_nearest(kind, names)}".rstrip()
        )
    paramwise = wrapper.get("paramwise_cfg") or {}
    if "constructor" not in wrapper:
        _check_keys("optim_wrapper.paramwise_cfg", paramwise, PARAMWISE)
    for key, rule in (paramwise.get("custom_keys") or {}).items():
        place = f"optim_wrapper.paramwise_cfg.custom_keys.{key}"
        if not isinstance(rule, dict):
            raise UserError(f"{place}={rule!r} must be a dict of {' and '.join(RULES)}.")
        for name, value in rule.items():
            if name in RULES:
                _check_number(f"{place}.{name}", value)
            elif near := difflib.get_close_matches(name, RULES, n=1, cutoff=0.8):
                raise UserError(f"{place} sets '{name}', and is read for '{near[0]}'.")


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
        own = name.partition(".")[2]
        near = difflib.get_close_matches(own, DEFAULT_HOOKS, n=1, cutoff=0.85)
        if name.startswith("default_hooks.") and near and own not in DEFAULT_HOOKS:
            raise UserError(f"{name} is no hook that every run has: did you mean '{near[0]}'?")
        kind = hook.get("type") or DEFAULT_HOOKS.get(own)
        if kind is None:
            raise UserError(
                f"{name} has no type: {_nearest(own, DEFAULT_HOOKS)}Hooks of your own say their "
                f"type."
            )
        if not isinstance(kind, str | type):
            raise UserError(f"{name}.type={kind!r} must be the name of a hook.")
        with HOOKS.switch_scope_and_registry(scope) as hooks_of:
            if (
                isinstance(kind, str)
                and "." not in kind
                and kind not in (names := known_names(hooks_of))
            ):
                raise UserError(
                    f"{name}: {kind} is not in the {hooks_of.scope}::{hooks_of.name} registry: "
                    f"{_nearest(kind, names)}".rstrip()
                )
            owner = hooks_of.get(kind) if isinstance(kind, str) else kind
        if owner is not None:
            _check_arguments(name, hook, owner)
            _check_when(name, hook, config)


def _check_when(name: str, hook: dict[str, Any], config: Config) -> None:
    """Values that MMEngine takes for never, or for all, without a word."""
    for key in ("interval", "max_keep_ckpts"):
        value = hook.get(key)
        if value is not None and value != -1 and not isinstance(value, dict | list | tuple):
            _check_number(f"{name}.{key}", value, low=1, whole=True)
    if hook.get("save_best") and config.get("val_cfg") is None:
        raise UserError(
            f"{name}.save_best={hook['save_best']!r} needs a validation: state val_dataloader, "
            f"val_cfg and val_evaluator, or leave save_best out."
        )


def check_values(config: Config) -> None:
    """Compare all values with the types that the classes of this package state.

    Raises:
        UserError: a value is of another kind, such as a name for a number.
    """
    ours = [one for one in vars(registry).values() if isinstance(one, Registry)]
    stated = {key: part for key, part in config.to_dict().items() if key in BUILT}
    wrong = next(wrong_values(stated, ours), None)
    if wrong is not None:
        raise UserError(wrong)


def _check_arguments(name: str, hook: dict[str, Any], owner: Any) -> None:
    known, any_other = _arguments(owner)
    if inspect.isclass(owner) and issubclass(owner, CheckpointHook):
        known |= {
            *_arguments(CheckpointHook)[0],
            *inspect.signature(Runner.save_checkpoint).parameters,
        } - {"self", "filename", "meta"}
        wrong = next(wrong_arguments(hook, CheckpointHook, name), None)
        if wrong is not None:
            raise UserError(wrong)
        _check_checkpoints(name, hook)
    elif any_other:
        return
    for key in hook:
        if key not in known and key not in ("type", "_scope_", "priority"):
            raise UserError(
                f"{name} sets '{key}', and {owner.__name__} has no such argument: "
                f"{_nearest(key, known)}".rstrip()
            )


def _check_checkpoints(name: str, hook: dict[str, Any]) -> None:
    """Values that MMEngine reads when the first checkpoint is written."""
    if hook.get("rule") not in (None, "greater", "less") and not isinstance(hook["rule"], list):
        raise UserError(f"{name}.rule={hook['rule']!r} must be 'greater' or 'less'.")
    if not isinstance(hook.get("out_dir", ""), str | None):
        raise UserError(f"{name}.out_dir={hook['out_dir']!r} must be a folder's name.")
    template = hook.get("filename_tmpl")
    if template is not None and (not isinstance(template, str) or template.count("{}") != 1):
        raise UserError(f"{name}.filename_tmpl={template!r} must be a name with one {{}} in it.")


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
        for key in ("by_epoch", "convert_to_iter_based"):
            if not isinstance(scheduler.get(key, False), bool):
                raise UserError(
                    f"param_scheduler.{number}.{key}={scheduler[key]!r} must be True or False."
                )
        if scheduler.get("begin") is not None:
            # parts of an epoch are iterations
            whole = not scheduler.get("convert_to_iter_based", False)
            _check_number(f"param_scheduler.{number}.begin", scheduler["begin"], whole=whole)
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
