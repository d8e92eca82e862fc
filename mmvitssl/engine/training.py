"""The program that trains: its options, and everything up to the first step."""

from __future__ import annotations

import argparse
import os

from mmengine.config import DictAction
from mmengine.runner import Runner

from mmvitssl.checkpoint.named import SOURCES
from mmvitssl.engine import (
    batch_sizes,
    checks,
    config_checks,
    dense_checks,
    guards,
    label_checks,
    launch,
    own_data,
    resume,
    schedules,
    shorthands,
    stopping,
    weights,
)
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.folder_lock import lock_folder
from mmvitssl.engine.hooks.watchdog import watchdog_of
from mmvitssl.engine.progress_bar import progress_bar
from mmvitssl.visualization.tracking import TRACKERS, track


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options of ``tools/train.py``, which other programs that train share."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("config", help="config file")
    options.add_argument("--work-dir", help="folder for logs and checkpoints")
    options.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CKPT|auto",
        help="go on from a checkpoint; without a path from the last one of the work folder",
    )
    options.add_argument("--amp", choices=("bf16", "fp16"), help="mixed precision")
    options.add_argument(
        "--compile",
        nargs="?",
        const="inductor",
        choices=launch.BACKENDS,
        help="torch.compile the encoders, with inductor unless another backend is named",
    )
    options.add_argument(
        "--auto-scale-lr",
        action=argparse.BooleanOptionalAction,
        help="scale the learning rate by the real over the config's batch size; the default "
        "where the config states that",
    )
    options.add_argument(
        "--pretrained",
        metavar="CKPT",
        help="load this encoder, strictly, before training: a checkpoint, the name of published "
        "weights, or an address; comes before the config's `pretrained`",
    )
    options.add_argument(
        "--init",
        metavar="CKPT",
        help="as --pretrained, for a new pretraining from these weights: the momentum encoder "
        "starts equal to the encoder, and tokens that the file lacks (mask token) are new; comes "
        "before the config's `init`",
    )
    options.add_argument(
        "--pretrained-source",
        choices=SOURCES,
        help="which encoder of the checkpoint; unless said otherwise DINO's teacher, I-JEPA's "
        "target encoder, and the online one of all others; ema: averaged weights (model_ema)",
    )
    shorthands.add_shorthands(options)
    options.add_argument("--track", choices=TRACKERS, help="log to Weights & Biases or MLflow too")
    add_common(options)
    return options


def add_common(options: argparse.ArgumentParser) -> None:
    """Options that training and testing share."""
    options.add_argument(
        "--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE", help="change the config"
    )
    options.add_argument("--launcher", choices=launch.LAUNCHERS, default="none")
    options.add_argument("--local-rank", "--local_rank", type=int, default=0)


def parse(options: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line; launchers that pass the rank as an option are obeyed."""
    args = options.parse_args()
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return args


def prepare(args: argparse.Namespace) -> Runner:
    """Everything that can be wrong with a config is found here, before the first step."""
    notes: list[str] = []
    short = shorthands.shorthands_of(args)
    config = read_config(args.config, args.cfg_options, notes, short)
    options = dict(args.cfg_options or {})
    if "data" in short:
        options.setdefault(own_data.ROOT, args.data)
    own_data.follow_data_root(config, options)
    launch.default_work_dir(config, args.config, args.work_dir)
    if config.get("train_dataloader") is None:
        raise launch.UserError(f"{args.config} has no train_dataloader to train on.")
    config_checks.check_parts(config)
    launch.set_precision(config, args.amp)
    guards.set_guards(config)
    config.launcher = args.launcher
    notes += launch.set_learning_rate(config, args.auto_scale_lr, args.cfg_options or ())
    lock_folder(config.work_dir)
    launch.set_resume(config, args.resume)
    config.setdefault("randomness", dict(seed=0))
    track(config, getattr(args, "track", None))
    scope = launch.prepare_scope(config)
    starting = weights.take_weights(
        config, args.pretrained, args.pretrained_source, getattr(args, "init", None)
    )
    launch.check_data(config, ("train_dataloader", "val_dataloader"))
    resume.check_work_dir(config)
    changes = resume.prepare_resume(config)
    launch.set_devices(config, args.launcher)
    notes += launch.follow_workers(config)
    own_data.read_classes(config, options)
    config_checks.check_values(config)
    config_checks.check_hooks(config, scope)
    config_checks.check_schedulers(config, scope)
    runner = launch.build_runner(config)
    for note in notes:
        runner.logger.info(note)
    runner.register_hook(resume.ChangedResumeHook(changes))
    dense_checks.check_files(config, ("train", "val"))
    launch.build_training(runner)
    batch_sizes.check_batches(runner)
    schedules.fit_runner(runner)
    checks.check_sharding(runner)
    checks.check_target(runner)
    label_checks.check_classifier(runner, ("train", "val"))
    dense_checks.check_dense(runner, ("train", "val"))
    checks.check_views(runner)
    checks.check_resume(runner)
    weights.load_weights(runner, starting)
    if args.compile:
        launch.compile_encoders(runner, args.compile)
    return runner


def train(args: argparse.Namespace) -> Runner:
    """Prepare and train; the runner that did it.

    Raises:
        Preempted: a signal asked for the end, and what there was is saved.
        WorkerError: a process of a data loader died.
    """
    with stopping.nothing_to_save():
        with launch.building():
            runner = prepare(args)
        watchdog = watchdog_of(runner)
        try:
            with stopping.listening(), progress_bar(runner):
                runner.train()
        except (RuntimeError, OSError, EOFError) as error:
            if watchdog is not None:
                watchdog.explain(error)
            raise
        finally:
            if watchdog is not None:
                watchdog.stop()
    launch.link_last(runner.work_dir)
    return runner
