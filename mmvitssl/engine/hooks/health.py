"""How good features become while training, without labels and at little cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend
from torch import Tensor

from mmvitssl.engine.outputs import append_line, tolerated
from mmvitssl.engine.sharding import is_sharded
from mmvitssl.evaluation.features import encode_features, evaluating
from mmvitssl.evaluation.spectrum import alpha_req, nearest, neighbour_accuracy, rankme
from mmvitssl.randomness import all_seeded
from mmvitssl.registry import HOOKS
from mmvitssl.visualization.curves import HEALTH
from mmvitssl.visualization.sheets import captioned, enlarged

CHUNK = 64  # images per forward pass
LEAST = 16  # images that a spectrum needs
PER_CLASS = 5  # labelled images per class that a vote needs


@HOOKS.register_module()
class HealthHook(Hook):
    """Log the effective rank of features of the same images, a few times per training.

    The first views of the first training batches are kept. The main process encodes them in eval
    mode with the online encoder; the mean of the patch tokens is the feature. Logged:
    ``health/rankme`` (:func:`~mmvitssl.evaluation.spectrum.rankme`), ``health/alpha_req``
    (:func:`~mmvitssl.evaluation.spectrum.alpha_req`), where images have labels and there are five
    per class ``health/knn`` in percent, and a picture of nearest neighbours. The numbers go to
    ``vis_data/health.json``, one line per look, and to TensorBoard. Training does not
    notice: modes and random states are restored. A model in shards (FSDP) is not looked at.

    Args:
        images: to encode, at most.
        looks: during the training, at most; the last iteration is one.
        share: of the images of the training that may be encoded for this, so that it costs less
            than one per cent of the time.
        queries, neighbours: rows and columns of the picture.
    """

    priority = "BELOW_NORMAL"

    def __init__(
        self,
        images: int = 256,
        looks: int = 10,
        share: float = 0.005,
        queries: int = 4,
        neighbours: int = 5,
    ) -> None:
        self.images, self.looks, self.share = images, looks, share
        self.queries, self.neighbours = queries, neighbours
        self._views: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._number = self._interval = 0

    def before_train(self, runner: Runner) -> None:
        """Decide how many images and looks the length of the training affords."""
        if not is_main_process() or is_sharded(runner.model):
            return
        batch = runner.train_dataloader.batch_size or 1
        affordable = self.share * runner.max_iters * batch * get_world_size()
        looks = int(min(max(affordable // self.images, 1), self.looks))
        self._number = int(min(max(affordable // looks, LEAST), self.images))
        self._interval = max(runner.max_iters // looks, 1)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        missing = self._number - sum(map(len, self._views))
        if missing <= 0 or "views" not in data_batch:
            return
        self._views.append(data_batch["views"][0][:missing].cpu())
        labels = data_batch["samples"].get("label")
        if labels is not None:
            self._labels.append(labels[:missing])
        if self._is_full:
            self._look(runner, runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if not self._views:
            return
        done = runner.iter + 1
        if done == runner.max_iters or (done % self._interval == 0 and self._is_full):
            self._look(runner, done)

    @property
    def _is_full(self) -> bool:
        return sum(map(len, self._views)) >= self._number

    def _look(self, runner: Runner, step: int) -> None:
        views = torch.cat(self._views)
        if len(views) < 2:
            return
        features = self._encode(runner, views)
        scalars = {"health/rankme": rankme(features)}
        alpha = alpha_req(features)
        if alpha is not None:
            scalars["health/alpha_req"] = alpha
        labels = torch.cat(self._labels) if self._labels else None
        if labels is not None and len(labels) >= PER_CLASS * len(labels.unique()):
            scalars["health/knn"] = 100 * neighbour_accuracy(features, labels)
        self._write(runner, scalars, step)
        self._draw(runner, views, features, step)

    @staticmethod
    def _write(runner: Runner, scalars: dict[str, float], step: int) -> None:
        path = Path(runner.log_dir) / "vis_data" / HEALTH
        with tolerated(runner, path):
            # a run may have no visualizer that made the folder
            path.parent.mkdir(parents=True, exist_ok=True)
            append_line(path, json.dumps({**scalars, "step": step}))
        for backend in runner.visualizer._vis_backends.values():
            if not isinstance(backend, LocalVisBackend):  # its file is the log of the losses
                backend.add_scalars(scalars, step=step)

    def _encode(self, runner: Runner, views: Tensor) -> Tensor:
        """(N, C) features on the CPU."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        preprocessor, device = model.data_preprocessor, next(model.parameters()).device
        values = []
        with evaluating(model.encoder), all_seeded(0, device):
            for chunk in views.split(CHUNK):
                batch = preprocessor({"views": [chunk], "samples": {}}, False)
                images = batch["views"][0].images
                values.append(encode_features(model.encoder, images, "mean").float().cpu())
        return torch.cat(values)

    def _draw(self, runner: Runner, views: Tensor, features: Tensor, step: int) -> None:
        if views.shape[1] != 3:
            return
        found = nearest(features, self.neighbours)[: self.queries]
        columns = {"query": views[: self.queries].float() / 255}
        for place in range(found.shape[1]):
            columns[f"neighbour {place + 1}"] = views[found[:, place]].float() / 255
        sheet = np.asarray(captioned(enlarged(columns), self.queries))
        runner.visualizer.add_image("neighbours", sheet, step=step)
