"""Starting beside, and going on from, what a work folder already holds.

A run that is taken up as it was is MMEngine's to resume. Where the config, the batch or the number
of processes changed, :class:`ChangedResumeHook` follows what is stated now.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, FlexibleRunner, Runner, find_latest_checkpoint

from mmvitssl.checkpoint.description import read_config_text
from mmvitssl.checkpoint.safe import load_file
from mmvitssl.engine.errors import UserError
from mmvitssl.engine.launch import processes
from mmvitssl.engine.schedules import training_length

COMPARED = ("train_cfg", "param_scheduler", "optim_wrapper")
PARTS = (*COMPARED, "train_dataloader")


def check_work_dir(config: Config) -> None:
    """Refuse to start a training in a folder that holds the checkpoints of another.

    Raises:
        UserError: it does, and nothing was said of resuming.
    """
    folder = Path(config.work_dir)
    found = sorted(path.name for path in folder.glob("*.pth") if path.name != "last.pth")
    if found and not config.get("resume"):
        raise UserError(
            f"The work folder {folder.absolute()} holds another run ({found[-1]}): go on with it "
            f"by --resume, choose another --work-dir, or remove it."
        )


def images_per_iteration(config: Mapping[str, Any], count: int) -> int | None:
    """Images of an iteration on ``count`` processes; None: the config does not say."""
    each = (config.get("train_dataloader") or {}).get("batch_size")
    return each * count if isinstance(each, int) else None


def _stated(text: str) -> dict[str, Any]:
    """What a checkpoint's config says, as far as it is made of literals."""
    stated: dict[str, Any] = {}
    for name in PARTS:
        try:
            stated.update(read_config_text(text, (name,)))
        except ValueError:
            continue
    return stated


def _plain(node: Any) -> Any:
    """Comparable: tuples as lists, no scopes, nothing that says the same by being absent."""
    if isinstance(node, Mapping):
        return {k: _plain(v) for k, v in node.items() if k != "_scope_"}
    if isinstance(node, (list, tuple)):
        return [_plain(value) for value in node]
    return node


def _optimizer(config: Mapping[str, Any]) -> dict[str, Any]:
    return dict((config.get("optim_wrapper") or {}).get("optimizer") or {})


def prepare_resume(config: Config) -> list[str]:
    """Compare a run that is to be resumed with what the config says now.

    Args:
        config: with ``resume`` and ``load_from`` set by the options; the hook that follows
            changes is added to it.

    Returns:
        The changes, in words.

    Raises:
        UserError: the run is finished, its optimizer is another one, or it counts iterations and
            an iteration now has another number of images.
    """
    if not config.get("resume"):
        return []
    path = config.get("load_from") or find_latest_checkpoint(config.work_dir)
    if path is None:
        return []
    meta = load_file(path).get("meta") or {}
    length, by_epoch = training_length(config)
    done, unit = meta.get("epoch" if by_epoch else "iter"), "epochs" if by_epoch else "iterations"
    if done is not None and length is not None and done >= length:
        raise UserError(
            f"The run of {path} is finished: {done} of {length} {unit}. Set a larger "
            f"train_cfg.max_{unit if by_epoch else 'iters'} to train on, or start another run in "
            f"another --work-dir."
        )
    old = _stated(str(meta.get("cfg") or meta.get("config") or ""))
    before = meta.get("processes") or 1
    now = 1 if config.get("launcher", "none") == "none" else processes()
    changes = _changes(old, config) + _batch_change(old, config, before, now, by_epoch)
    if changes and config.get("runner_type") == "FlexibleRunner":
        raise UserError(
            f"ShardedStrategy resumes a run only as it was; changed: {'; '.join(changes)}."
        )
    return changes


def _changes(old: Mapping[str, Any], config: Config) -> list[str]:
    """What differs in length, schedule and optimizer."""
    changes = []
    before, after = _optimizer(old), _optimizer(config)
    if before and before.get("type") != after.get("type"):
        raise UserError(
            f"The run to resume was trained by {before.get('type')}, the config says "
            f"{after.get('type')}, which cannot take up its state: start a new run from its "
            f"weights with --pretrained, or keep the optimizer."
        )
    for key in sorted(before.keys() | after.keys()) if before else ():
        if _plain(before.get(key)) != _plain(after.get(key)):
            changes.append(
                f"optim_wrapper.optimizer.{key}: {before.get(key)} before, {after.get(key)} now"
            )
    if "train_cfg" in old:
        lengths = [training_length(settings)[0] for settings in (Config(dict(old)), config)]
        if lengths[0] != lengths[1]:
            changes.append(f"length of the training: {lengths[0]} before, {lengths[1]} now")
    if "param_scheduler" in old:
        schedules = (_plain(old["param_scheduler"]), _plain(config.get("param_scheduler")))
        if schedules[0] != schedules[1]:
            changes.append("param_scheduler: another one now")
    return changes


def _batch_change(
    old: Mapping[str, Any], config: Config, before: int, now: int, by_epoch: bool
) -> list[str]:
    first, second = images_per_iteration(old, before), images_per_iteration(config, now)
    if first is None or second is None or first == second:
        return []
    if not by_epoch:
        fits = first % now == 0
        mend = f"set train_dataloader.batch_size={first // now}" if fits else "use as many"
        raise UserError(
            f"The run to resume counts iterations, of {first} images on {before} process(es); now "
            f"they would have {second} on {now}, so that its schedule and the images that it saw "
            f"would not go together: {mend}."
        )
    return [f"images per iteration: {first} before, {second} now"]


class ChangedResumeHook(Hook):
    """Takes up a run whose schedule, rate, batch or number of processes changed.

    The epoch is kept, and the iteration becomes that at which an uninterrupted run of today's
    config would begin it: so schedules, momentum and the number of images seen go on right. Rates
    and other settings of the optimizer are today's, its moments those of the checkpoint.

    Args:
        changes: from :func:`prepare_resume`; empty: only a changed number of iterations per epoch
            is followed.
    """

    priority = "VERY_HIGH"

    def __init__(self, changes: list[str]) -> None:
        self.changes = changes
        self.settings: list[dict[str, Any]] = []
        self.starts: list[dict[str, Any]] = []

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Note the number of processes, which the config does not say."""
        checkpoint["meta"]["processes"] = runner.world_size

    def before_run(self, runner: Runner) -> None:
        """Keep what the config says, before the checkpoint's state comes over it."""
        if not runner._resume or isinstance(runner, FlexibleRunner):
            return
        groups = runner.optim_wrapper.param_groups
        self.settings = [{k: v for k, v in group.items() if k != "params"} for group in groups]
        self.starts = [copy.deepcopy(one.state_dict()) for one in self._schedulers(runner)]

    def _schedulers(self, runner: Runner) -> list[Any]:
        built = runner.param_schedulers or []
        return list(built) if isinstance(built, list) else []

    def before_train(self, runner: Runner) -> None:
        """Set the iteration, the rates and the schedules, where anything changed."""
        loop = runner.train_loop
        if not self.settings or not (loop.iter or loop.epoch):
            return
        epochs = isinstance(loop, EpochBasedTrainLoop)
        within = getattr(loop, "first_batch", 0)  # of an epoch that had begun
        start = loop.epoch * len(loop.dataloader) + within if epochs else loop.iter
        if not self.changes and start == loop.iter:
            return
        for change in self.changes:
            runner.logger.info(f"Resumed with a change: {change}.")
        runner.logger.info(
            f"Resumed at iteration {start} of {runner.max_iters} (the checkpoint was saved at "
            f"{loop.iter}); rates and schedules follow the config."
        )
        loop._iter = start
        for group, settings in zip(runner.optim_wrapper.param_groups, self.settings, strict=True):
            group.update(settings)
        for scheduler, state in zip(self._schedulers(runner), self.starts, strict=True):
            scheduler.load_state_dict(copy.deepcopy(state))
        self._go(runner, len(loop.dataloader) if epochs else 0)
        runner.optim_wrapper.initialize_count_status(runner.model, start, runner.max_iters)

    def _go(self, runner: Runner, epoch_length: int) -> None:
        """Step the schedules to where the training begins."""
        schedulers, loop = self._schedulers(runner), runner.train_loop
        for number in range(1, loop.iter + 1):
            at_end = epoch_length and number % epoch_length == 0
            at_end = at_end and number <= loop.epoch * epoch_length
            for scheduler in schedulers:
                if not scheduler.by_epoch or at_end:
                    scheduler.step()
