"""Probes: frozen features that are computed once, and accuracies while pretraining."""

from __future__ import annotations

from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmvitssl.datasets.cached import CachedFeatures
from mmvitssl.evaluation.cache import fill
from mmvitssl.evaluation.probes import FeatureProbe
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.data_preprocessor import build_preprocessor
from mmvitssl.randomness import all_seeded
from mmvitssl.registry import DATASETS, HOOKS


def _bare(runner: Runner) -> Any:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


@HOOKS.register_module()
class FeatureCacheHook(Hook):
    """Encode the images of every :class:`CachedFeatures` before they are read.

    Args:
        batch_size: images a pass, in each process.
        workers: processes that read images.
    """

    def __init__(self, batch_size: int = 256, workers: int = 0) -> None:
        self.batch_size, self.workers = batch_size, workers

    def before_train(self, runner: Runner) -> None:
        self._fill(runner, runner.train_dataloader, "training")

    def before_val(self, runner: Runner) -> None:
        self._fill(runner, runner.val_dataloader, "validation")

    def before_test(self, runner: Runner) -> None:
        self._fill(runner, runner.test_dataloader, "test")

    def _fill(self, runner: Runner, loader: Any, name: str) -> None:
        dataset = loader.dataset
        if not isinstance(dataset, CachedFeatures) or dataset.values is not None:
            return
        computed = fill(_bare(runner), dataset, self.batch_size, self.workers)
        assert dataset.values is not None
        where = f"in {dataset.file}" if dataset.file else "in memory"
        runner.logger.info(
            f"Features of {len(dataset)} {name} images, {tuple(dataset.values.shape[1:])} each, "
            f"{'computed and kept' if computed else 'found'} {where}."
        )


@HOOKS.register_module()
class OnlineProbeHook(Hook):
    """Log nearest-neighbour and linear accuracy of the encoder every few epochs of pretraining.

    ``probe/knn_<k>`` and ``probe/linear``, in percent. The training does not notice: modes of all
    modules and global random states are restored. The first process computes, the others wait.

    Args:
        bank: config of the labelled data set that neighbours come from and the linear classifier
            is fitted on, without augmentation.
        queries: config of the labelled data set that is classified.
        interval: epochs between probes; there is one after the last epoch in any case.
        at_start: whether to probe before the first epoch too.
        branch: 'online', or 'target' for the momentum encoder.
        linear: whether to fit logistic regression too.
        readout, neighbours, temperature, batch_size, workers, precision: see
            :class:`~mmvitssl.evaluation.probes.FeatureProbe`.

    Raises:
        ValueError: an unknown branch, or an interval below 1.
    """

    def __init__(
        self,
        bank: dict[str, Any],
        queries: dict[str, Any],
        interval: int = 10,
        at_start: bool = False,
        branch: str = "online",
        linear: bool = True,
        **settings: Any,
    ) -> None:
        if interval < 1 or branch not in ("online", "target"):
            raise ValueError(
                f"OnlineProbeHook needs interval >= 1 and branch 'online' or 'target'; got "
                f"{interval} and '{branch}'."
            )
        self.interval, self.at_start, self.branch = interval, at_start, branch
        self.bank, self.queries = DATASETS.build(bank), DATASETS.build(queries)
        self.settings = {"linear": linear, **settings}
        self._probe: FeatureProbe | None = None

    def before_train(self, runner: Runner) -> None:
        """Raises ValueError if the model has no such branch, or the data no labels."""
        model = _bare(runner)
        encoder = model.encoder
        if self.branch == "target":
            if not isinstance(model, Pretrainer) or model.target is None:
                raise ValueError("OnlineProbeHook.branch='target', but the model has no target.")
            encoder = model.target["encoder"]
        # a preprocessor of its own: the model's must not be moved
        theirs = model.data_preprocessor
        config = dict(
            type="ViewPreprocessor",
            mean=theirs.mean.flatten().tolist(),
            std=theirs.std.flatten().tolist(),
        )
        self._probe = FeatureProbe(
            encoder, self.bank, self.queries, build_preprocessor(config), **self.settings
        )
        if self.at_start and runner.epoch == 0:
            self._measure(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        last = runner.epoch + 1 == runner.max_epochs
        if last or self.every_n_epochs(runner, self.interval):
            self._measure(runner)

    def _measure(self, runner: Runner) -> None:
        assert self._probe is not None
        if is_main_process():
            with all_seeded(0, next(_bare(runner).parameters()).device):
                accuracies = self._probe.accuracies()
            scalars = {f"probe/{name}": 100 * value for name, value in accuracies.items()}
            words = ", ".join(f"{name} {value:.2f}" for name, value in scalars.items())
            runner.logger.info(f"Probes of the {self.branch} encoder: {words}.")
            runner.visualizer.add_scalars(scalars, step=runner.iter)
        barrier()
