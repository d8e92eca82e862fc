"""From a config file and command-line options to a runner, with errors that a person can act on."""

from __future__ import annotations

import difflib
import gc
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import FlexibleRunner, Runner, find_latest_checkpoint
from torch import nn

from mmvitssl import compat
from mmvitssl.checkpoint import CheckpointError
from mmvitssl.datasets.images import BrokenImageError
from mmvitssl.engine.dataset_tree import config_leaves
from mmvitssl.extras import MissingExtraError, require

BACKENDS = ("inductor", "cudagraphs", "aot_eager", "eager")
LAUNCHERS = ("none", "pytorch", "slurm", "mpi")


class UserError(ValueError):
    """Something in the config, the options or the data that the user can mend."""


@contextmanager
def building() -> Iterator[None]:
    """What fails in here fails because of the config or the options, and is said in words.

    Errors of a running training keep their traceback: they may be anything.
    """
    try:
        yield
    except (UserError, CheckpointError, FileNotFoundError, BrokenImageError):
        raise
    except (ValueError, TypeError, KeyError, AssertionError, ImportError, SyntaxError) as error:
        raise UserError(_in_words(error)) from error


def _in_words(error: Exception) -> str:
    if isinstance(error, TypeError):
        return _unknown_argument(error) or str(error)
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return f"{error}".strip() or type(error).__name__


def _unknown_argument(error: TypeError) -> str | None:
    """Name the class of a config that was given an argument it does not have."""
    match = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    builders = [frame for frame, _ in walk_tb(error.__traceback__) if "obj_cls" in frame.f_locals]
    if match is None or not builders:
        return None
    owner, name = builders[-1].f_locals["obj_cls"], match[1]
    known = [key for key in inspect.signature(owner).parameters if key not in ("self", "kwargs")]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return (
        f"{owner.__name__} has no argument '{name}': {hint}It knows {', '.join(known)}. "
        f"({owner.__module__})"
    )


def run_or_explain(main: Callable[[], None]) -> None:
    """Run a program; what a user can mend ends in one paragraph and exit status 2."""
    try:
        main()
        _leave_processes()
    except (
        UserError, CheckpointError, FileNotFoundError, BrokenImageError, MissingExtraError
    ) as error:  # fmt: skip
        if os.environ.get("MMVITSSL_TRACEBACK"):
            raise
        sys.exit(_explain(error))


def _leave_processes() -> None:
    """Wait for the other processes and close the connections to them.

    gloo's threads may abort a process that exits before they end, and the launcher then ends all
    others, in the middle of a checkpoint if they are not done.
    """
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        gc.collect()  # the wrapped model, if it is still there, keeps the threads alive


def _explain(error: Exception) -> int:
    text = str(error).strip() or type(error).__name__
    if "Original Traceback" in text:  # a data loader's worker puts its traceback into the message
        text = text.splitlines()[-1].partition(": ")[2]
    print(f"\nerror: {text}", file=sys.stderr)
    print("(set MMVITSSL_TRACEBACK=1 to see where it arose)", file=sys.stderr)
    return 2


def prepare_scope(config: Config) -> str:
    """Import what registers the modules of the config's default scope; returns the scope."""
    import mmvitssl.datasets
    import mmvitssl.engine
    import mmvitssl.evaluation
    import mmvitssl.models  # noqa: F401

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


def set_auto_scale_lr(config: Config) -> None:
    """Scale the learning rate by the real batch size over the one that the config was made for.

    The real batch is that of an optimizer step: of all processes and accumulated iterations.

    Raises:
        UserError: the config does not say that batch size.
    """
    if "base_batch_size" not in config.get("auto_scale_lr", {}):
        raise UserError(
            "--auto-scale-lr needs auto_scale_lr = dict(base_batch_size=...) in the config."
        )
    config.auto_scale_lr.enable = True
    # MMEngine compares with the batch of one iteration
    accumulated = config.get("optim_wrapper", {}).get("accumulative_counts", 1)
    config.auto_scale_lr.base_batch_size /= accumulated


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
    elif find_latest_checkpoint(config.work_dir) is None:
        print_log(f"No checkpoint in {config.work_dir} yet: starting from the beginning.")
        return
    config.resume = True


def _replace_norms(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("type") in ("SyncBN", "MMSyncBN"):
            node["type"] = "BN"
        for value in node.values():
            _replace_norms(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _replace_norms(value)


def set_devices(config: Config, launcher: str) -> None:
    """Set the distributed wrapper; without a GPU: gloo, no device ids, no SyncBN.

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
    # torch's synchronised batch norm refuses CPU tensors
    _replace_norms(config.get("model", {}))
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


def _dataset_paths(dataset: ConfigDict) -> list[Path]:
    root = Path(dataset.get("data_root") or "")
    prefix = dataset.get("data_prefix") or {}
    parts = [value for value in prefix.values() if isinstance(value, str)]
    parts += [dataset.ann_file] if dataset.get("ann_file") else []
    return [root / part for part in parts] or ([root] if dataset.get("data_root") else [])


def check_data(config: Config, parts: tuple[str, ...]) -> None:
    """Look for the data of mmdet and mmseg datasets before models are built.

    Raises:
        UserError: a folder or annotation file is not there.
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


def default_work_dir(config: Config, path: str, work_dir: str | None) -> None:
    """``--work-dir``, else the config's, else ``work_dirs/<config name>``."""
    if work_dir is not None:
        config.work_dir = work_dir
    elif config.get("work_dir") is None:
        config.work_dir = str(Path("work_dirs") / Path(path).stem)


def build_runner(config: Config) -> Runner:
    """The runner that the config names, MMEngine's by default."""
    if "runner_type" in config:
        return RUNNERS.build(config)
    return Runner.from_cfg(config)


def link_last(work_dir: str) -> None:
    """Let ``last.pth`` in a work folder point to the checkpoint that was saved last."""
    latest = find_latest_checkpoint(work_dir)
    if latest is None or get_rank() != 0:
        return
    link = Path(work_dir) / "last.pth"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(latest).name)


def build_training(runner: Runner) -> None:
    """Build data loaders and optimizer now rather than in ``train()``: errors come before work."""
    # MMEngine builds a loop and its data loader when asked for it
    _ = runner.train_loop, runner.val_loop
    if isinstance(runner, FlexibleRunner):
        # its strategy wraps the model and builds the optimizer when training starts
        runner.model = runner.strategy.build_model(runner.model)
        return
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)


def bare_model(runner: Runner) -> nn.Module:
    """The runner's model without its distributed wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def compile_encoders(runner: Runner, backend: str = "inductor") -> int:
    """Compile every encoder of this package in place (state-dict names stay); returns how many.

    Backbones of detectors and segmentors use parts of their encoder and are compiled as a whole,
    once for every size: one graph of any size takes minutes to trace. Beyond torch's limit of
    sizes (8) they run uncompiled, which torch logs: crops of one size are what it is for.
    The backends ``eager`` and ``aot_eager`` trace without compiling, to look for graph breaks.

    Raises:
        UserError: there is none.
    """
    from mmvitssl.models.backbones import DenseFeatures, SwinTransformer, ViT

    modules = list(bare_model(runner).modules())
    backbones = [module for module in modules if isinstance(module, DenseFeatures)]
    inside = [backbone.encoder for backbone in backbones]
    encoders = [
        module
        for module in modules
        if isinstance(module, (ViT, SwinTransformer)) and all(module is not e for e in inside)
    ]
    if not encoders and not backbones:
        raise UserError("--compile: the model holds no encoder of this package.")
    for encoder in encoders:
        encoder.compile(backend=backend)
    for backbone in backbones:
        backbone.compile(backend=backend, dynamic=False)
    return len(encoders) + len(backbones)
