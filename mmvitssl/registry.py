"""Registries of mmvitssl: children of MMEngine's, filled lazily from ``locations``.

In a config, ``default_scope = 'mmvitssl'`` (or the prefix ``mmvitssl.``, from an mmdet or mmseg
config) makes every name below available; names that are not found here are looked up in MMEngine.
"""

from __future__ import annotations

import inspect
from typing import Any

from mmengine import registry as root
from mmengine.registry import Registry

from mmvitssl.ranges import checked

SCOPE = "mmvitssl"


class CheckedRegistry(Registry):
    """MMEngine's Registry; the numbers that classes of this package get must be possible."""

    def _register_module(self, module: Any, *args: Any, **kwargs: Any) -> None:
        if inspect.isclass(module) and module.__module__.startswith(f"{SCOPE}."):
            checked(module)
        super()._register_module(module, *args, **kwargs)


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return CheckedRegistry(
        name,
        parent=parent,
        scope=SCOPE,
        locations=[f"{SCOPE}.{location}" for location in locations],
    )


MODELS = _child("model", root.MODELS, "models.registered")
DATASETS = _child("dataset", root.DATASETS, "datasets")
DATA_SAMPLERS = _child("data sampler", root.DATA_SAMPLERS, "datasets")
TRANSFORMS = _child("transform", root.TRANSFORMS, "datasets")
FUNCTIONS = _child("function", root.FUNCTIONS, "datasets")
HOOKS = _child("hook", root.HOOKS, "engine")
OPTIMIZERS = _child("optimizer", root.OPTIMIZERS, "engine")
OPTIM_WRAPPERS = _child("optim_wrapper", root.OPTIM_WRAPPERS, "engine")
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    "optimizer wrapper constructor", root.OPTIM_WRAPPER_CONSTRUCTORS, "engine"
)
PARAM_SCHEDULERS = _child("parameter scheduler", root.PARAM_SCHEDULERS, "engine")
METRICS = _child("metric", root.METRICS, "evaluation")
EVALUATOR = _child("evaluator", root.EVALUATOR, "evaluation")
VISUALIZERS = _child("visualizer", root.VISUALIZERS, "visualization")
VISBACKENDS = _child("vis_backend", root.VISBACKENDS, "visualization")
MODEL_WRAPPERS = _child("model_wrapper", root.MODEL_WRAPPERS, "engine")
LOOPS = _child("loop", root.LOOPS, "engine")
STRATEGIES = _child("strategy", root.STRATEGIES, "engine")
TASK_UTILS = _child("task util", root.TASK_UTILS, "models.registered")
