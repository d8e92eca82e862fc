"""Checkpoints that are never worse than those they replace, and are written in time."""

from __future__ import annotations

import math
import time
from collections import deque
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from mmvitssl.checkpoint import durable
from mmvitssl.distributed import world_size
from mmvitssl.engine import stopping
from mmvitssl.engine.hooks.finite import NonFiniteHook, non_finite_metrics
from mmvitssl.registry import HOOKS

TIMED = "iter_{}.pth"
GRADIENTS, POSITION = "gradients", "position"  # in a checkpoint, and in its meta


@HOOKS.register_module()
class FiniteCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook for runs that may end at any moment.

    - Weights or optimizer states that are not finite end the training with an error
      (:class:`~mmvitssl.engine.hooks.finite.NonFiniteHook`), and older checkpoints stay. With
      ``save_best``, a metric that is NaN or infinite never counts as better.
    - A checkpoint is removed after a newer one is on the disk; with ``max_keep_ckpts=1`` the newer
      one is read back before that.
    - Beside what ``interval`` asks for, one is written every ``minutes``, as ``iter_<N>.pth``, in
      the middle of an epoch too; the newest two of these stay (one with ``max_keep_ckpts=1``).
    - SIGTERM and SIGUSR1 write one after the iteration and end the training
      (:class:`~mmvitssl.engine.stopping.Preempted`).
    - ``last.pth`` and ``last_checkpoint`` name the newest one after each is written.

    A checkpoint says how far the epoch is, and holds gradients that are being accumulated. Of
    sharded models it is written after the optimizer's step that they are for.

    Args:
        minutes: between checkpoints; 0: none by time.
        args, kwargs: see :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        ValueError: ``minutes`` is negative.
    """

    def __init__(self, *args: Any, minutes: float = 20, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not 0 <= minutes < math.inf:
            raise ValueError(
                f"FiniteCheckpointHook.minutes={minutes} must be 0 (none by time) or more."
            )
        self.minutes = minutes
        self.keep_ckpt_ids: deque[int] = deque()
        self._timed: list[int] = []
        self._agreement: stopping.Agreement | None = None
        self._gradients: dict[str, Tensor] | None = None
        self._batches = self._saved_at = 0
        self._waiting = stopping.GO_ON  # for the step of a sharded model, whose gradients stay
        self._clock = time.monotonic()

    # what a checkpoint is taken up with

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Tell the loop where in the epoch the checkpoint was written."""
        self._gradients = checkpoint.pop(GRADIENTS, None)
        position = (checkpoint.get("meta") or {}).get(POSITION) or {}
        if getattr(runner, "_resume", False) and hasattr(runner.train_loop, "start_at"):
            runner.train_loop.start_at(position.get("batches", 0), position.get("batch_size"))

    def before_train(self, runner: Runner) -> None:
        self._move_paths(runner)
        super().before_train(runner)
        self._timed = list(runner.message_hub.runtime_info.get("timed_checkpoints", ()))
        self._agreement = stopping.Agreement()
        self._clock = time.monotonic()
        gradients, self._gradients = self._gradients, None
        if gradients and getattr(runner, "_resume", False):
            for name, parameter in _bare(runner).named_parameters():
                if name in gradients:
                    parameter.grad = gradients[name].to(parameter.device)

    def _move_paths(self, runner: Runner) -> None:
        """Let the names of the best checkpoints follow a folder that was moved."""
        info = runner.message_hub.runtime_info
        folder = Path(self.out_dir or runner.work_dir)
        for key in [key for key in info if key.startswith("best_ckpt")]:
            here = folder / Path(str(info[key])).name
            if here.is_file():
                runner.message_hub.update_info(key, str(here))

    # when one is written

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Raises Preempted after a signal to stop, and SaveError if nothing can be written."""
        self._batches = batch_idx + 1
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self._agreement is None:
            return
        agreed = max(self._agreement.later(self._wish()), self._waiting)
        self._waiting = agreed if hasattr(runner, "strategy") and accumulates(runner) else 0
        if agreed == stopping.GO_ON or self._waiting or self.is_last_train_iter(runner):
            return
        self._save_timed(runner, runner.iter + 1)
        if agreed == stopping.STOP:
            self._stop(runner, runner.iter + 1)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Raises Preempted after a signal to any process; all end after a batch of theirs."""
        if self._agreement is None:
            return
        last = batch_idx + 1 >= len(runner.val_dataloader)
        wish, sharded = stopping.received() is not None, hasattr(runner, "strategy")
        if self._agreement.ends_validation(wish, last, together=sharded):
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):  # the model has averaged weights in a validation
                    hook.after_val_epoch(runner)
            self._save_timed(runner, runner.iter)
            self._stop(runner, runner.iter)

    def _stop(self, runner: Runner, step: int) -> None:
        runner.visualizer.close()
        raise stopping.Preempted(
            f"Stopped by {stopping.received() or 'a signal to another process'} after "
            f"iteration {step}; saved {self.last_ckpt}. Go on with --resume."
        )

    def _wish(self) -> int:
        if stopping.received():
            return stopping.STOP
        if self.minutes and time.monotonic() - self._clock >= 60 * self.minutes:
            self._clock = time.monotonic()
            return stopping.SAVE if is_main_process() else stopping.GO_ON
        return stopping.GO_ON

    def after_train_epoch(self, runner: Runner) -> None:
        self._batches = 0
        super().after_train_epoch(runner)

    def after_train(self, runner: Runner) -> None:
        super().after_train(runner)
        if self._agreement is not None:
            self._agreement.close()

    # how it is written

    def _check(self, runner: Runner) -> None:
        hooks = [hook for hook in runner.hooks if isinstance(hook, NonFiniteHook)]
        (hooks[0] if hooks else NonFiniteHook()).check_weights(runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        kept = [number for number in self.keep_ckpt_ids if number != step] + [step]
        stay = kept[-self.max_keep_ckpts :] if self.max_keep_ckpts > 0 else kept
        if self.max_keep_ckpts > 0:
            runner.message_hub.update_info("keep_ckpt_ids", stay)
        self._write(runner, self.filename_tmpl.format(step), meta, self.by_epoch)
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(stay)
            self._remove(self.filename_tmpl.format(n) for n in kept[: -len(stay)])

    def _save_timed(self, runner: Runner, step: int) -> None:
        """Write a checkpoint of ``step`` iterations, unless there is one."""
        if self._saved_at == step:
            return
        runner.logger.info(f"Saving checkpoint at {step} iterations")
        kept = [*self._timed, step]
        stay = kept[-1:] if self.max_keep_ckpts == 1 else kept[-2:]
        runner.message_hub.update_info("timed_checkpoints", stay)
        meta = dict(epoch=runner.epoch, iter=step)
        self._write(runner, TIMED.format(step), meta, by_epoch=False)
        self._timed = stay
        regular = set() if self.by_epoch else set(self.keep_ckpt_ids)
        self._remove(TIMED.format(n) for n in kept[: -len(stay)] if n not in regular)

    def _write(self, runner: Runner, name: str, meta: dict[str, Any], by_epoch: bool) -> None:
        """Write one whole checkpoint; on all processes, which learn whether it went well."""
        self._check(runner)
        self._gradients = accumulated_gradients(runner)
        path = self.file_backend.join_path(self.out_dir, name)
        loader = runner.train_dataloader
        size = (loader.batch_size or getattr(loader.batch_sampler, "batch_size", 0)) * world_size()
        meta[POSITION] = dict(batches=self._batches, batch_size=size)
        runner.message_hub.update_info("last_ckpt", path)
        problem: durable.SaveError | None = None
        try:
            runner.save_checkpoint(
                self.out_dir, name, self.file_client_args, save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=by_epoch,
                backend_args=self.backend_args, **self.args,
            )  # fmt: skip
            if is_main_process():
                durable.point_to_last(runner.work_dir, path)
        except durable.SaveError as error:
            problem = error
        finally:
            self._gradients = None
        if self._agreement is not None and self._agreement.any(problem is not None):
            raise problem or durable.SaveError("The first process could not write a checkpoint.")
        if problem is not None:
            raise problem
        self.last_ckpt, self._clock = path, time.monotonic()
        self._saved_at = meta["iter"]

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if self._gradients:
            checkpoint[GRADIENTS] = self._gradients

    def _remove(self, names: Any) -> None:
        """Remove older checkpoints; the newest must be good if it is to be the only one."""
        names = list(names)
        if not names or not is_main_process():
            return
        newest = Path(str(self.last_ckpt))
        if self.max_keep_ckpts == 1 and newest.is_file():
            problem = durable.damage_of(newest)
            if problem:
                raise durable.SaveError(f"{problem} It was written just now; older ones stay.")
        for name in names:
            path = self.file_backend.join_path(self.out_dir, name)
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):  # shards
                self.file_backend.rmtree(path)

    # the best one

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        if not self.save_best:
            return
        wrong = non_finite_metrics(metrics)
        self._check(runner)
        if set(wrong) & {*self.key_indicators, next(iter(metrics))}:
            runner.logger.warning(
                f"The best checkpoint stays: {', '.join(wrong)} of this one is not finite."
            )
        before = self._best_paths()
        self._set_best_paths(dict.fromkeys(before))  # MMEngine removes the old one first
        # no comparison with NaN is true, while infinity would be the best of all
        super()._save_best_checkpoint(runner, {**metrics, **dict.fromkeys(wrong, math.nan)})
        after = self._best_paths()
        self._set_best_paths({key: after.get(key) or path for key, path in before.items()} | {
            key: path for key, path in after.items() if key not in before
        })  # fmt: skip
        for key, path in before.items():
            if path and after.get(key) not in (None, path):
                self._remove([Path(path).name])

    def _best_paths(self) -> dict[str, str | None]:
        if len(self.key_indicators) == 1:
            return {"": self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _set_best_paths(self, paths: dict[str, str | None]) -> None:
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = paths[""]
        else:
            self.best_ckpt_path_dict = paths


def _bare(runner: Runner) -> Any:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def accumulates(runner: Runner) -> bool:
    """Whether gradients wait for the rest of a batch."""
    wrapper = runner.optim_wrapper
    counts = getattr(wrapper, "_accumulative_counts", 1)
    due = counts == 1 or wrapper.inner_count % counts == 0
    return not due and wrapper.inner_count != wrapper._max_counts


@torch.no_grad()
def accumulated_gradients(runner: Runner) -> dict[str, Tensor] | None:
    """Gradients that wait for the rest of a batch, on the CPU; the mean over all processes.

    None between optimizer steps, and for sharded models. All processes must call it.
    """
    if not accumulates(runner) or hasattr(runner, "strategy"):
        return None
    gradients = {}
    for name, parameter in _bare(runner).named_parameters():
        if parameter.requires_grad:
            gradient = parameter.grad
            if world_size() > 1:
                gradient = torch.zeros_like(parameter) if gradient is None else gradient.clone()
                dist.all_reduce(gradient)
                gradient /= world_size()
            if gradient is not None:
                gradients[name] = gradient.cpu().clone()
    return gradients
