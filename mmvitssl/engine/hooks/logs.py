"""What the log of a distributed training shows."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
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
