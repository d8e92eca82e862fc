"""Training loops that go on in the middle of an epoch, with no data repeated or read twice."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import islice
from typing import Any

from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import BatchSampler, DataLoader

from mmvitssl.distributed import world_size
from mmvitssl.engine.config_files import resolve
from mmvitssl.engine.draws import SeededIndex, seed_items
from mmvitssl.engine.hooks.watchdog import begin_step, loading
from mmvitssl.randomness import seed_of
from mmvitssl.registry import LOOPS

END = object()


class SkippingBatches:
    """A batch sampler whose next pass can begin later; what is skipped is never read.

    Indices that are plain numbers get a seed (:class:`~mmvitssl.engine.draws.SeededIndex`), which
    derives from the pass, the place in it and the index.

    Args:
        batches: the batch sampler inside, whose attributes this one has.
        seed: of the training.
    """

    def __init__(self, batches: Any, seed: int) -> None:
        self.batches, self.seed = batches, seed
        self.skip = 0  # batches, of the next pass
        self.skipped = 0  # batches that the sampler inside leaves out in the next pass
        self.passes = 0  # before the next one

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["batches"], name)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        # a loader may ask for two iterators, and uses one: the skip is taken at the first batch
        skip, self.skip = self.skip, 0
        first, self.skipped = skip + self.skipped, 0
        number, self.passes = self.passes, self.passes + 1
        for place, batch in enumerate(islice(self.batches, skip, None), start=first):
            key = (self.seed, number, place)
            yield [SeededIndex(index, seed_of(*key, i, index)) if type(index) is int else index
                   for i, index in enumerate(batch)]  # fmt: skip


def skipping(loader: DataLoader, seed: int) -> SkippingBatches:
    """Put :class:`SkippingBatches` around a loader's batch sampler, once.

    Raises:
        ValueError: the loader has none (an iterable data set).
    """
    batches: Any = loader.batch_sampler
    if batches is None:
        raise ValueError(
            "A data set that yields batches by itself cannot be taken up within an epoch."
        )
    if not isinstance(batches, SkippingBatches):
        batches = SkippingBatches(batches, seed)
        object.__setattr__(loader, "batch_sampler", batches)  # a loader refuses it, to be safe
        seed_items(loader)
    return batches


def filled_in(runner: Any, dataloader: Any) -> Any:
    """The config of the training's loader with sizes that follow from the encoder.

    Schedules of the runner get their ends too. Our programs do both when they read a config; this
    is for MMEngine's runner alone.

    Args:
        runner: whose ``cfg`` is completed.
        dataloader: config, or a built one, which stays as it is.
    """
    if not isinstance(dataloader, dict):
        return dataloader
    config = Config(deepcopy(runner.cfg.to_dict()))
    resolve(config)
    if config.to_dict() == runner.cfg.to_dict():
        return dataloader
    runner.cfg.train_dataloader = config.train_dataloader
    if runner.param_schedulers is not None:
        runner.cfg.param_scheduler = runner.param_schedulers = config.param_scheduler
    return config.train_dataloader


@LOOPS.register_module(name=["ExactEpochLoop", "EpochBasedTrainLoop"])
class ExactEpochLoop(EpochBasedTrainLoop):
    """MMEngine's EpochBasedTrainLoop, which can begin in the middle of an epoch.

    Args:
        runner: that trains.
        dataloader: built, or its config.
        args, kwargs: see :class:`mmengine.runner.EpochBasedTrainLoop`.
    """

    def __init__(self, runner: Any, dataloader: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(runner, filled_in(runner, dataloader), *args, **kwargs)
        self.first_batch = 0  # of the next epoch

    def start_at(self, batches: int, batch_size: int | None) -> None:
        """Begin behind some batches of the epoch that comes next.

        Args:
            batches: that were done.
            batch_size: their images on all processes; where it is another one now, as many
                images are left out, rounded down to whole batches.
        """
        loader = self.dataloader
        size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", 0)
        now = size * world_size()
        if batch_size and now and now != batch_size:
            batches = batches * batch_size // now
        self.first_batch = min(batches, len(loader))

    def run_epoch(self) -> None:
        """Iterate one epoch, or the rest of one."""
        first, self.first_batch = self.first_batch, 0
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        if self.dataloader.batch_sampler is not None or first:
            batches = skipping(self.dataloader, self.runner.seed or 0)
            batches.skip, batches.passes = first, self._epoch
        if first:
            self.runner.logger.info(f"Going on after {first} iterations of epoch {self._epoch + 1}")
        for idx, data_batch in enumerate(self._batches(), start=first):
            self.run_iter(idx, data_batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def _batches(self) -> Iterator[Any]:
        """The batches of the loader; the watchdog knows when one is waited for."""
        batches: Iterator[Any] | None = None
        while True:
            with loading(self.runner, self.dataloader):
                batches = iter(self.dataloader) if batches is None else batches
                batch = next(batches, END)
            if batch is END:
                return
            begin_step(self.runner, batch, self.dataloader)
            yield batch


class _SkippingIterator(_InfiniteDataloaderIterator):
    """MMEngine's endless iterator over a loader, which skips without reading."""

    def __init__(self, runner: Any, loader: DataLoader) -> None:
        self._runner = runner
        if loader.batch_sampler is not None:
            skipping(loader, runner.seed or 0)
        super().__init__(loader)

    def skip_iter(self, num_iters: int) -> None:
        """Begin after some iterations."""
        batches = skipping(self._dataloader, self._runner.seed or 0)
        inner = batches.batches
        sampler: Any = getattr(inner, "sampler", None)
        inside: Any = getattr(sampler, "sampler", sampler)  # of one that adds keys
        if getattr(inside, "infinite", hasattr(inside, "skip")):
            if inside is sampler and type(inner) is BatchSampler:
                inside.skip(num_iters * inner.batch_size)  # it can count
                batches.skipped = num_iters
            else:
                batches.skip = num_iters
            return
        self._epoch, rest = divmod(num_iters, len(self._dataloader))
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(self._epoch)
        batches.skip, batches.passes = rest, self._epoch

    def __next__(self) -> Any:
        with loading(self._runner, self._dataloader):
            batch = super().__next__()
        begin_step(self._runner, batch, self._dataloader)
        return batch


@LOOPS.register_module(name=["ExactIterLoop", "IterBasedTrainLoop"])
class ExactIterLoop(IterBasedTrainLoop):
    """MMEngine's IterBasedTrainLoop, which resumes without reading what was done.

    Args:
        runner: that trains.
        dataloader: built, or its config.
        args, kwargs: see :class:`mmengine.runner.IterBasedTrainLoop`.
    """

    def __init__(self, runner: Any, dataloader: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(runner, filled_in(runner, dataloader), *args, **kwargs)
        self.dataloader_iterator = _SkippingIterator(self.runner, self.dataloader)
