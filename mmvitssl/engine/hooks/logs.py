"""What the log of a distributed training shows."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook, LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner

from mmvitssl.distributed import mean_over_processes, world_size
from mmvitssl.registry import HOOKS


@HOOKS.register_module()
class ReduceLogsHook(Hook):
    """Average the logged scalars over processes, in one small collective an iteration.

    MMEngine logs those of the first process alone, which sees a fraction of the batch.
    """

    priority = "HIGHEST"  # before the hook that copies the outputs into the log

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if world_size() == 1 or not outputs:
            return
        names = [name for name, value in outputs.items() if torch.is_tensor(value)]
        values = torch.stack([outputs[name].float().mean() for name in names])
        for name, value in zip(names, mean_over_processes(values), strict=True):
            outputs[name] = value


@HOOKS.register_module()
class DeferredLogsHook(RuntimeInfoHook):
    """Copy logged values from the device once a log line, not once a value and iteration.

    MMEngine's hook, whose place this takes (``default_hooks.runtime_info``), calls ``item()`` on
    every value of every iteration, and each call waits until the device has finished what it was
    given. The log is the same, value for value.
    """

    def __init__(self) -> None:
        self._held: list[dict[str, Any]] = []
        self._interval = 1

    def before_train(self, runner: Runner) -> None:
        """Learn when the log is read."""
        super().before_train(runner)
        intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._interval = min(intervals, default=1)
        if hasattr(runner.optim_wrapper, "defer_logs"):
            runner.optim_wrapper.defer_logs = True

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        values = dict(outputs or {})
        norm = getattr(runner.optim_wrapper, "last_grad_norm", None)
        if norm is not None:
            values["grad_norm"] = norm
        # detached, or the graphs of all these steps would stay
        held = {k: v.detach() if torch.is_tensor(v) else v for k, v in values.items()}
        self._held.append(held)
        if (
            self.every_n_inner_iters(batch_idx, self._interval)
            or self.every_n_train_iters(runner, self._interval)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
            or self.is_last_train_iter(runner)
        ):
            self.flush(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """The log is part of a checkpoint, and was copied into it before hooks are asked."""
        self.flush(runner)
        if "message_hub" in checkpoint:
            checkpoint["message_hub"] = runner.message_hub.state_dict()

    def after_train(self, runner: Runner) -> None:
        self.flush(runner)
        super().after_train(runner)

    def flush(self, runner: Runner) -> None:
        """Hand on what is held, in order."""
        tensors = [
            value.float().mean()
            for values in self._held
            for value in values.values()
            if torch.is_tensor(value)
        ]
        numbers = iter(torch.stack(tensors).tolist() if tensors else ())  # the only wait
        for values in self._held:
            for name, value in values.items():
                number = next(numbers) if torch.is_tensor(value) else value
                runner.message_hub.update_scalar(f"train/{name}", number)
        self._held.clear()
