"""Arithmetic of data set, batch and processes, done before the first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmvitssl.engine.errors import UserError
from mmvitssl.engine.launch import bare_model
from mmvitssl.models.heads.contrastive import QueueInfoNCE
from mmvitssl.models.necks.mlp import SyncBatchNorm1d


@dataclass(frozen=True)
class Batches:
    """The batches that a process takes of an epoch.

    Args:
        images: of the data set.
        processes: that share them.
        each: samples of one process per epoch; None: without end.
        size: of a batch of one process.
        drop_last: whether an incomplete last batch is left out.
    """

    images: int
    processes: int
    each: int | None
    size: int
    drop_last: bool

    @property
    def sizes(self) -> tuple[int, ...]:
        """The different sizes of a process's batches, the last one last."""
        if self.each is None:
            return (self.size,)
        whole, rest = divmod(self.each, self.size)
        return ((self.size,) if whole else ()) + ((rest,) if rest and not self.drop_last else ())

    def check(self) -> None:
        """Raise UserError where there is nothing to train on."""
        if self.images < self.processes:
            raise UserError(
                f"The training set has {self.images} image(s), and there are {self.processes} "
                f"processes: use at most as many processes as images."
            )
        if not self.sizes:
            shared = f", {self.each} for each of {self.processes} processes"
            raise UserError(
                f"The training set has {self.images} image(s)"
                f"{shared if self.processes > 1 else ''}, fewer than "
                f"train_dataloader.batch_size={self.size}, and drop_last=True leaves out a batch "
                f"that is not full: set train_dataloader.batch_size={self.each} or less."
            )


def batches_of(runner: Runner) -> Batches | None:
    """Batches of the runner's training; None for a loader that makes batches in its own way."""
    loader: Any = runner.train_dataloader
    batches = getattr(loader, "batch_sampler", None)
    sampler = getattr(batches, "sampler", None)
    size = getattr(batches, "batch_size", None)
    if sampler is None or not isinstance(size, int):
        return None
    inside = getattr(sampler, "sampler", sampler)
    endless = getattr(inside, "infinite", "Infinite" in type(inside).__name__)
    return Batches(
        images=len(loader.dataset),
        processes=get_world_size(),
        each=None if endless else len(sampler),
        size=size,
        drop_last=bool(getattr(batches, "drop_last", False)),
    )


def check_batches(runner: Runner) -> None:
    """Refuse sizes that would end the training later, or leave nothing to train on.

    Raises:
        UserError: fewer images than processes or than a full batch, batch norm over a single
            sample, or an incomplete last batch that does not fit into a queue of keys.
    """
    batches = batches_of(runner)
    if batches is None:
        return
    batches.check()
    model = bare_model(runner)
    _check_norms(model, batches)
    _check_queues(model, batches)


def _of_last(size: int, batches: Batches) -> str:
    if size == batches.size:
        return f"train_dataloader.batch_size={batches.size}"
    return (
        f"the last batch of an epoch ({batches.each} images per process in batches of "
        f"{batches.size}, drop_last=False)"
    )


def _check_norms(model: nn.Module, batches: Batches) -> None:
    """Batch norm over vectors needs two samples; over maps, their places are samples too."""
    for each in batches.sizes:
        for name, module in model.named_modules():
            vectors = isinstance(module, nn.BatchNorm1d)
            if not vectors or not _learns(module):
                continue
            if each * (batches.processes if isinstance(module, SyncBatchNorm1d) else 1) > 1:
                continue
            mend = (
                "set train_dataloader.batch_size to 2 or more"
                if each == batches.size
                else "set train_dataloader.drop_last=True, or another batch_size"
            )
            raise UserError(
                f"{_of_last(each, batches)[0].upper()}{_of_last(each, batches)[1:]} has a single "
                f"image, of which the batch norm {name} has no statistics: {mend}."
            )


def _check_queues(model: nn.Module, batches: Batches) -> None:
    """An incomplete last batch must fit into a queue a whole number of times."""
    last = batches.sizes[-1]
    if last == batches.size:
        return
    for name, module in model.named_modules():
        if isinstance(module, QueueInfoNCE) and module.size % (last * batches.processes):
            raise UserError(
                f"{_of_last(last, batches)[0].upper()}{_of_last(last, batches)[1:]} has {last} "
                f"image(s), which the queue of {module.size} keys of {name} cannot be filled with: "
                f"set train_dataloader.drop_last=True."
            )


def _learns(module: _BatchNorm) -> bool:
    """Whether it uses the statistics of the batch in training."""
    return module.training or module.track_running_stats
