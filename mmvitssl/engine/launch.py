"""From a config file and command-line options to a runner, with errors that a person can act on."""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import FlexibleRunner, Runner
from torch import nn

import mmvitssl.datasets
import mmvitssl.engine
import mmvitssl.evaluation
import mmvitssl.models.registered  # noqa: F401
from mmvitssl import compat
from mmvitssl.allocator import keep_freed_memory
from mmvitssl.checkpoint.durable import newest_good, point_to_last
from mmvitssl.config_tree import parts
from mmvitssl.datasets.images import ImageFiles
from mmvitssl.datasets.sampler import add_keys
from mmvitssl.datasets.wrapper import DatasetWrapper
from mmvitssl.engine.console import with_short_console
from mmvitssl.engine.dataset_tree import config_leaves
from mmvitssl.engine.errors import UserError, building, run_or_explain
from mmvitssl.engine.optim.selectors import check_selectors
from mmvitssl.extras import require
from mmvitssl.models.backbones import DenseFeatures
from mmvitssl.models.backbones.contract import Backbone

BACKENDS = ("inductor", "cudagraphs", "aot_eager", "eager")
# data sets whose samples are drawn by SampleKey
KEYED = (ImageFiles, DatasetWrapper)
LAUNCHERS = ("none", "pytorch", "slurm", "mpi")

__all__ = ["UserError", "building", "run_or_explain"]


def prepare_scope(config: Config) -> str:
    """Import what registers the modules of the config's default scope; returns the scope."""
    scope = config.get("default_scope", "mmvitssl")
    if scope in ("mmdet", "mmseg"):
        require(f"default_scope = '{scope}'", "transfer", "mmcv", scope)
    if scope == "mmdet":
        from mmdet.utils import register_all_modules

        register_all_modules(init_default_scope=False)
        compat.keep_boxes_in_float32()
    elif scope == "mmseg":
        from mmseg.utils import register_all_modules

        register_all_modules(init_default_scope=False)
    config.setdefault("default_scope", scope)
    return scope


def set_precision(config: Config, precision: str | None) -> None:
    """Switch mixed precision on.

    Raises:
        UserError: float16 without a GPU, or a config without optim_wrapper.
    """
    if precision is None:
        return
    if "optim_wrapper" not in config:
        raise UserError("--amp needs an optim_wrapper in the config.")
    for of_the_config in ("dtype", "precision"):
        config.optim_wrapper.pop(of_the_config, None)
    if precision == "bf16":
        config.optim_wrapper.type = "mmvitssl.AutocastOptimWrapper"
        config.optim_wrapper.pop("loss_scale", None)
        return
    if not torch.cuda.is_available():
        raise UserError("--amp fp16 needs a CUDA GPU; use --amp bf16, which also runs on CPUs.")
    config.optim_wrapper.type = "AmpOptimWrapper"
    config.optim_wrapper.dtype = "float16"
    config.optim_wrapper.setdefault("loss_scale", "dynamic")


def processes() -> int:
    """How many processes the launcher started, before they are connected."""
    for name in ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"):
        if name in os.environ:
            return int(os.environ[name])
    return 1


def batch_of_a_step(config: Config) -> int | None:
    """Images per optimizer step: of all processes and accumulated iterations; None: not stated."""
    loader = config.get("train_dataloader") or {}
    each = loader.get("batch_size") or (loader.get("batch_sampler") or {}).get("batch_size")
    if not isinstance(each, int):
        return None
    count = 1 if config.get("launcher", "none") == "none" else processes()
    wrapper = config.get("optim_wrapper") or {}
    return each * count * int(wrapper.get("accumulative_counts") or 1)


def set_learning_rate(
    config: Config, scale: bool | None, options: Container[str] = ()
) -> list[str]:
    """Scale the learning rates by the real batch size over the one that they were made for.

    That is ``auto_scale_lr.base_batch_size``; the real batch is that of an optimizer step. The last
    rate of a schedule (``eta_min``) is scaled with the first. The config then says the real batch
    size and rate, so that a run of the saved config is not scaled again.

    Args:
        config: changed in place.
        scale: True: scale, or fail; False: do not; None: unless the config says
            ``enable=False``, or one of ``options`` sets the rate itself.
        options: keys that the command line sets.

    Returns:
        What was done, in words; empty where there was nothing to do.

    Raises:
        UserError: it was asked for, and the config does not say that batch size.
    """
    settings = config.get("auto_scale_lr") or {}
    base, real = settings.get("base_batch_size"), batch_of_a_step(config)
    optimizer: Any = (config.get("optim_wrapper") or {}).get("optimizer") or {}
    if base is None or real is None or "lr" not in optimizer:
        if scale:
            raise UserError(
                "--auto-scale-lr needs auto_scale_lr = dict(base_batch_size=...), "
                "train_dataloader.batch_size and optim_wrapper.optimizer.lr in the config."
            )
        return []
    if scale is None:
        scale = settings.get("enable", True) and "optim_wrapper.optimizer.lr" not in options
    rate, factor = optimizer.lr, real / base
    config.auto_scale_lr = dict(base_batch_size=base, enable=False)
    if not scale:
        if factor == 1:
            return []
        return [
            f"The learning rate {rate:g} is used as it is, at {real} images per step; the config "
            f"states it for {base}."
        ]
    config.auto_scale_lr.base_batch_size = real
    if factor == 1:
        return []
    optimizer.lr = rate * factor
    schedulers = config.get("param_scheduler") or []
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        if scheduler.get("eta_min"):
            scheduler["eta_min"] *= factor
    return [
        f"The learning rate {rate:g}, stated for {base} images per step, is scaled to "
        f"{optimizer.lr:g} for {real} (--no-auto-scale-lr uses it as it is)."
    ]


def set_resume(config: Config, resume: str | None) -> None:
    """``auto`` takes up the last checkpoint of the work folder; a path, that one.

    Raises:
        UserError: there is no such checkpoint.
    """
    if resume is None:
        return
    if resume != "auto":
        if not Path(resume).is_file():
            raise UserError(f"There is no checkpoint {Path(resume).absolute()} to resume from.")
        config.load_from = resume
    else:
        newest = newest_good(config.work_dir)
        if newest is None:
            print_log(f"No checkpoint in {config.work_dir} yet: starting from the beginning.")
            return
        config.load_from = newest
    config.resume = True


def set_devices(config: Config, launcher: str) -> None:
    """Set the distributed wrapper; without a GPU: gloo, no device ids, no SyncBN, kept memory.

    Gradients are views of the buckets that are reduced, which saves a copy and their memory. What
    the config's ``model_wrapper_cfg`` says (such as ``static_graph=True``) comes before that.
    """
    config.launcher = launcher
    settings = dict(
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
        find_unused_parameters=config.get("find_unused_parameters", False),
    )
    given = config.get("model_wrapper_cfg") or {}
    sharded = config.get("runner_type") == "FlexibleRunner"  # its strategy wraps the model
    if torch.cuda.is_available():
        if launcher != "none" and not sharded:
            config.model_wrapper_cfg = dict(
                **{"type": "MMDistributedDataParallel", **settings, **given}
            )
        return
    keep_freed_memory()
    # torch's synchronised batch norm refuses CPU tensors
    for _, part in parts(config.get("model", {})):
        if part.get("type") in ("SyncBN", "MMSyncBN"):
            part["type"] = "BN"
    if config.get("optim_wrapper", {}).get("type") == "AmpOptimWrapper":
        raise UserError(
            "The config's AmpOptimWrapper needs a GPU: on CPUs use --amp bf16, or "
            "--cfg-options optim_wrapper.type=OptimWrapper."
        )
    if launcher == "none":
        return
    if launcher != "pytorch":
        raise UserError(f"--launcher {launcher} needs GPUs; on CPUs use --launcher pytorch.")
    given = {key: value for key, value in given.items() if key != "type"}
    config.model_wrapper_cfg = dict(
        type="mmvitssl.CPUDistributedDataParallel", **{**settings, **given}
    )
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")


def follow_workers(config: Config) -> list[str]:
    """Turn off what needs worker processes in loaders with ``num_workers=0``; one line per loader.

    DataLoader refuses ``persistent_workers`` and ``prefetch_factor`` there, so that a config's
    ``num_workers`` could not be changed alone.
    """
    notes = []
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = config.get(name)
        if not isinstance(loader, dict) or loader.get("num_workers", 0) != 0:
            continue
        off = [key for key in ("persistent_workers", "prefetch_factor") if loader.get(key)]
        for key in off:
            loader.pop(key)
        if off:
            notes.append(f"{name}.num_workers=0: {' and '.join(off)} left out.")
    return notes


def _dataset_paths(dataset: ConfigDict) -> list[Path]:
    root = Path(dataset.get("data_root") or "")
    prefix = dataset.get("data_prefix") or {}
    parts = [value for value in prefix.values() if isinstance(value, str)]
    parts += [dataset.ann_file] if dataset.get("ann_file") else []
    return [root / part for part in parts] or ([root] if dataset.get("data_root") else [])


def check_data(config: Config, parts: tuple[str, ...]) -> None:
    """Look for the data of mmdet and mmseg datasets before models are built.

    Raises:
        UserError: a folder or annotation file is not there, or it is a pickle.
    """
    for part in parts:
        leaves = config_leaves((config.get(part) or {}).get("dataset"), f"{part}.dataset")
        paths = ((f, path) for f, d in leaves if "root" not in d for path in _dataset_paths(d))
        for field, path in paths:
            if not path.exists():
                raise UserError(
                    f"{part} reads {path.absolute()}, which does not exist: set data_root (and "
                    f"ann_file, data_prefix) in the config, --cfg-options {field}.data_root="
                    f"YOUR_FOLDER, or --cfg-options data_root=YOUR_FOLDER for all loaders."
                )
            if path.suffix in (".pkl", ".pickle"):
                raise UserError(
                    f"{part} reads {path.absolute()}, a pickle, which runs code when it is read: "
                    f"write the annotations as JSON and name that file in {field}.ann_file."
                )


def default_work_dir(config: Config, path: str, work_dir: str | None) -> None:
    """``--work-dir``, else the config's, else ``work_dirs/<config name>``."""
    if work_dir is not None:
        config.work_dir = work_dir
    elif config.get("work_dir") is None:
        config.work_dir = str(Path("work_dirs") / Path(path).stem)


def build_runner(config: Config) -> Runner:
    """The runner that the config names, MMEngine's by default, with a short console log."""
    kind = RUNNERS.get(config.runner_type) if "runner_type" in config else Runner
    if kind is None:
        raise UserError(f"runner_type = '{config.runner_type}' is not registered as a runner.")
    return with_short_console(kind).from_cfg(config)


def link_last(work_dir: str) -> None:
    """Let ``last.pth`` in a work folder point to the checkpoint that was saved last."""
    latest = newest_good(work_dir)
    if latest is not None and get_rank() == 0:
        point_to_last(work_dir, latest)


def build_training(runner: Runner) -> None:
    """Build optimizer and data loaders now rather than in ``train()``: errors come before work.

    Raises:
        ValueError: a name in the config chooses no parameter of the model
            (:func:`~mmvitssl.engine.optim.selectors.check_selectors`).
    """
    if sharded := isinstance(runner, FlexibleRunner):
        # its strategy wraps the model and builds the optimizer when training starts
        runner.model = runner.strategy.build_model(runner.model)
    for note in check_selectors(runner.cfg, bare_model(runner)):
        runner.logger.info(note)
    if not sharded:
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    # MMEngine builds a loop and its data loader when asked for it
    for loop in (runner.train_loop, runner.val_loop):
        loader = getattr(loop, "dataloader", None)
        takes_keys = isinstance(getattr(loader, "dataset", None), KEYED)
        if loader is not None and takes_keys and add_keys(loader, runner.seed or 0):
            runner.logger.info(
                f"{type(loader.sampler).__name__} yields indices: samples are drawn from the seed, "
                f"the epoch and the index."
            )


def bare_model(runner: Runner) -> nn.Module:
    """The runner's model without its distributed wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def compile_encoders(runner: Runner, backend: str = "inductor") -> int:
    """Compile every backbone in place (state-dict names stay); returns how many.

    Backbones of detectors and segmentors use parts of their encoder and are compiled as a whole,
    once for every size: one graph of any size takes minutes to trace. Beyond torch's limit of
    sizes (8) they run uncompiled, which torch logs: crops of one size are what it is for.
    The backends ``eager`` and ``aot_eager`` trace without compiling, to look for graph breaks.

    Raises:
        UserError: there is none.
    """
    modules = list(bare_model(runner).modules())
    backbones = [module for module in modules if isinstance(module, DenseFeatures)]
    inside = [backbone.encoder for backbone in backbones]
    encoders = [
        module
        for module in modules
        if isinstance(module, Backbone) and all(module is not each for each in inside)
    ]
    if not encoders and not backbones:
        raise UserError("--compile: the model holds no backbone (models/backbones/contract.py).")
    for encoder in encoders:
        encoder.compile(backend=backend)
    for backbone in backbones:
        backbone.compile(backend=backend, dynamic=False)
    return len(encoders) + len(backbones)
