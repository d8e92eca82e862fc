"""What goes wrong with a training, as hooks and data sets that a config names."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from mmvitssl import writing
from mmvitssl.datasets.images import ImageFolder
from mmvitssl.datasets.sampler import SampleKey
from mmvitssl.registry import DATASETS, HOOKS


@HOOKS.register_module()
class SignalAt(Hook):
    """Sends this process a signal in the middle of an iteration, counted from 1."""

    def __init__(self, iteration: int, name: str) -> None:
        self.iteration, self.name = iteration, name

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter + 1 == self.iteration:
            os.kill(os.getpid(), getattr(signal, self.name))


@HOOKS.register_module()
class SignalInValidation(Hook):
    """One process gets a signal with its second batch; all write down which batches they saw."""

    def __init__(self, note: str, rank: int = 1, name: str = "SIGTERM") -> None:
        self.note, self.rank, self.name = note, rank, name

    def before_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        with open(self.note, "a") as file:
            file.write(f"{runner.rank} {batch_idx}\n")
        time.sleep(0.2)
        if batch_idx == 1 and runner.rank == self.rank and runner.epoch == 1:
            os.kill(os.getpid(), getattr(signal, self.name))


@HOOKS.register_module()
class SleepAt(Hook):
    """Stays in an iteration for a long time."""

    def __init__(self, iteration: int, only_rank: int = 0) -> None:
        self.iteration, self.only_rank = iteration, only_rank

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter + 1 == self.iteration and runner.rank == self.only_rank:
            time.sleep(600)


@HOOKS.register_module()
class FullDiskAt(Hook):
    """From an iteration on, until another, no file can become longer than so many bytes."""

    def __init__(self, iteration: int, size: int, until: int | None = None) -> None:
        self.iteration, self.size, self.until = iteration, size, until

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter + 1 in (self.iteration, self.until):
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            size = self.size if runner.iter + 1 == self.iteration else most
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))


@HOOKS.register_module()
class SignalWhileWriting(Hook):
    """Sends this process a signal when the content of a file is written, before it is renamed."""

    def __init__(self, file: str, name: str) -> None:
        self.file, self.number = file, getattr(signal, name)

    def before_train(self, runner: Any) -> None:
        sync = writing._sync

        def interrupted(path: Path) -> None:
            if path.name.startswith(f".{self.file}."):
                os.kill(os.getpid(), self.number)
            sync(path)

        writing._sync = interrupted


@DATASETS.register_module()
class NotedFolder(ImageFolder):
    """Writes down each sample that is read: epoch and index."""

    def __init__(self, note: str, **settings: Any) -> None:
        self.note = note
        super().__init__(**settings)

    def __getitem__(self, key: SampleKey | int) -> dict[str, Any]:
        if isinstance(key, SampleKey):
            with open(self.note, "a") as file:
                file.write(f"{key.epoch} {key.index}\n")
        return super().__getitem__(key)


@DATASETS.register_module()
class TroubledFolder(ImageFolder):
    """One file is a pipe that nobody writes to, or ends the process that reads it."""

    def __init__(self, trouble: str, index: int, pipe: str, **settings: Any) -> None:
        self.trouble, self.index, self.pipe = trouble, index, pipe
        super().__init__(**settings)

    def __getitem__(self, key: SampleKey | int) -> dict[str, Any]:
        if isinstance(key, SampleKey) and key.index == self.index:
            if self.trouble == "stuck":
                Path(self.pipe).read_bytes()
            with open(self.paths[self.index], "rb"):
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(key)


@HOOKS.register_module()
class PoisonAt(Hook):
    """From an iteration on, the third block overflows."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter + 1 == self.iteration:
            bias = runner.model.encoder.blocks[2].mlp.fc1.bias
            bias.data.fill_(torch.finfo(torch.float32).max)
            runner.model.encoder.blocks[2].norm2.bias.data.fill_(1e38)
            runner.model.encoder.blocks[2].mlp.fc1.weight.data.fill_(1e30)


@HOOKS.register_module()
class NaNAt(Hook):
    """From an iteration on, a weight is no number."""

    def __init__(self, iteration: int, weight: str) -> None:
        self.iteration, self.weight = iteration, weight

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter + 1 == self.iteration:
            runner.model.get_parameter(self.weight).data.fill_(torch.nan)
