"""What can be wrong with a run that was built, found before its first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner, find_latest_checkpoint

from mmvitssl.checkpoint import load_strict
from mmvitssl.datasets import SampleKey
from mmvitssl.engine.errors import UserError
from mmvitssl.engine.hooks import (
    GradientCosineHook,
    MomentumUpdateHook,
    OnlineProbeHook,
    TaskPicturesHook,
)
from mmvitssl.engine.launch import bare_model
from mmvitssl.engine.sharding import ShardedStrategy
from mmvitssl.models.algorithms import ImageClassifier, Pretrainer
from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.backbones.patch_tokens import check_channels
from mmvitssl.models.balancers import ParetoWeights
from mmvitssl.models.data_preprocessor import training_sizes


def check_target(runner: Runner) -> None:
    """Refuse a momentum target that nothing would move.

    Raises:
        UserError: the model has one, and the config lacks the hook.
    """
    model = bare_model(runner)
    has_target = isinstance(model, Pretrainer) and model.target is not None
    if has_target and not any(isinstance(hook, MomentumUpdateHook) for hook in runner.hooks):
        raise UserError(
            "The model has a momentum target and nothing moves it: add "
            "dict(type='MomentumUpdateHook') to custom_hooks."
        )


def check_sharding(runner: Runner) -> None:
    """Refuse with FSDP what would be computed from shards as if they were whole.

    Raises:
        UserError: the run has such a part, or no processes to share the shards.
    """
    if not isinstance(getattr(runner, "strategy", None), ShardedStrategy):
        return
    if not torch.distributed.is_initialized():
        raise UserError("ShardedStrategy needs processes: start it with tools/dist_train.sh.")
    model: Any = bare_model(runner)
    wrapper: Any = runner.optim_wrapper
    optimizer = wrapper.get("optimizer", {}).get("type")
    weights = model.balancer if isinstance(model, Pretrainer) else None
    parts = {
        "ParetoWeights and GradientCosineHook (gradients of single blocks)": isinstance(
            weights, ParetoWeights
        )
        or any(isinstance(hook, GradientCosineHook) for hook in runner.hooks),
        "a momentum target (its shards are cut in other places)": isinstance(model, Pretrainer)
        and model.target is not None,
        "learned weights of losses (a single number has no shards)": any(
            parameter.ndim == 0 for parameter in model.parameters()
        ),
        "clip_grad, clip_each or LARS (norms of shards)": optimizer == "LARS"
        or bool(wrapper.get("clip_grad") or wrapper.get("clip_each")),
        "TaskPicturesHook and OnlineProbeHook (they run the model in one process)": any(
            isinstance(hook, TaskPicturesHook | OnlineProbeHook) for hook in runner.hooks
        ),
    }
    for part, present in parts.items():
        if present:
            raise UserError(f"ShardedStrategy does not work with {part}.")
    counts = wrapper.get("accumulative_counts") or 1
    if counts > 1:
        _check_accumulation(runner, counts)


def _check_accumulation(runner: Runner, counts: int) -> None:
    """Refuse checkpoints of sharded models between the backward passes of a step.

    Their gradients are not saved. What is written by time or after a signal waits for the step.
    """
    loop: Any = runner.train_loop
    epoch = len(loop.dataloader) if isinstance(loop, EpochBasedTrainLoop) else 1
    for hook in runner.hooks:
        if not isinstance(hook, CheckpointHook):
            continue
        own = hook.interval * (epoch if hook.by_epoch else 1)
        places = {"default_hooks.checkpoint.interval": own}
        if hook.save_best and runner.val_loop is not None:
            places["train_cfg.val_interval, after which the best one is saved"] = (
                loop.val_interval * epoch
            )
        for place, between in places.items():
            if between > 0 and between % counts:
                raise UserError(
                    f"ShardedStrategy saves no gradients that are being accumulated, and a "
                    f"checkpoint every {between} iterations ({place}) falls between the {counts} "
                    f"of a step (optim_wrapper.accumulative_counts): let the second divide the "
                    f"first."
                )


def check_views(runner: Runner) -> None:
    """Draw one sample and let the encoder and the tasks look at it before training.

    Raises:
        UserError: a view has a size that the patch does not divide, or other channels than the
            encoder, none has the size that the encoder's positions are for, a task reads a view
            that the pipeline does not make, or a masker does not fit the grid.
        CheckpointError: a tokenizer's file is missing or does not fit.
    """
    model: Any = bare_model(runner)
    if isinstance(model, Pretrainer):
        model.load_frozen()
    if not isinstance(model, Pretrainer | ImageClassifier):
        return
    sample = runner.train_dataloader.dataset[SampleKey(0)]
    views = sample.get("views", ())
    try:
        sizes = training_sizes(model.data_preprocessor, views)
    except ValueError as error:
        raise UserError(str(error)) from error
    for number, (view, size) in enumerate(zip(views, sizes, strict=True)):
        try:
            model.encoder.grid_of(size)
            check_channels(model.encoder, view[None])
        except ValueError as error:
            raise UserError(f"View {number} of the training pipeline: {error}") from error
    _check_image_size(model.encoder, sizes)
    if isinstance(model, Pretrainer):
        _check_tasks(model, runner.train_dataloader.collate_fn([sample]))


def _check_image_size(encoder: Backbone, sizes: Sequence[Sequence[int]]) -> None:
    """Refuse an encoder whose positions are for images of a size that no view has.

    They would be interpolated in every step. Smaller crops beside views of the size are meant so.
    """
    grids = [encoder.grid_of((size[0], size[1])) for size in sizes]
    if not encoder.spec.has_positions or not sizes or encoder.spec.grid in grids:
        return
    height, width = encoder.spec.image_size
    made = ", ".join(sorted({f"{size[0]}x{size[1]}" for size in sizes}))
    raise UserError(
        f"The encoder's positions are for images of {height}x{width} pixels (image_size), and no "
        f"view of the training pipeline has that size: they are {made}. Set the encoder's "
        f"image_size, or the size of the crops, to the other."
    )


def _check_tasks(model: Any, batch: Any) -> None:
    views = batch.get("views") if isinstance(batch, dict) else None
    if not isinstance(views, list) or not all(isinstance(view, torch.Tensor) for view in views):
        raise UserError(
            "train_dataloader.collate_fn makes no batch of views: set collate_fn=dict("
            "type='mmvitssl.collate_views')."
        )
    step = model.start(**model.data_preprocessor(batch, True))
    try:
        model.prepare_views(step)
    except (ValueError, IndexError) as error:
        raise UserError(str(error)) from error
    for name, task in model.named_tasks():
        try:
            for request in task.requests(step):
                step.view(request.view)
        except (ValueError, IndexError) as error:
            raise UserError(f"Task '{name}': {error}") from error


def check_resume(runner: Runner) -> None:
    """Refuse to take up the training of another model, which MMEngine would only warn of.

    Raises:
        CheckpointError: the checkpoint is not one of this model.
    """
    if runner._resume:
        path = runner._load_from or find_latest_checkpoint(runner.work_dir)
        if path is not None:
            load_strict(bare_model(runner), path, outside=False)
