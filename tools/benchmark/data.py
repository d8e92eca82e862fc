"""Throughput of a data pipeline on one core, whole and stage by stage."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.registry import DefaultScope
from PIL import Image

from benchmark.peers import RECIPES, SCOPE, require_peer
from demo.photographs import PHOTOGRAPHS, read_photograph
from mmvitssl.datasets.images import compose
from mmvitssl.datasets.sampler import SampleKey
from mmvitssl.engine.launch import UserError
from mmvitssl.registry import FUNCTIONS

SIZE = (500, 375)  # of a typical ImageNet file
QUALITY = 90
# names of stages by the transforms that make them; others are called like their transform
STAGES = {"LoadImage": "decode", "LoadImageFromFile": "read and decode", "MultiView": "augment",
          "PackViews": "pack", "PackInputs": "pack"}  # fmt: skip


def write_photographs(folder: Path, number: int) -> None:
    """Write JPEGs of 500 x 375 pixels: parts of real photographs, drawn by a fixed seed."""
    rng = np.random.default_rng(0)
    for index in range(number):
        image = Image.fromarray(read_photograph(PHOTOGRAPHS[index % len(PHOTOGRAPHS)].name))
        scale = max(SIZE[0] / image.width, SIZE[1] / image.height) * rng.uniform(1.0, 1.5)
        image = image.resize((int(image.width * scale) + 1, int(image.height * scale) + 1))
        left = int(rng.integers(image.width - SIZE[0] + 1))
        top = int(rng.integers(image.height - SIZE[1] + 1))
        image = image.crop((left, top, left + SIZE[0], top + SIZE[1]))
        image.save(folder / f"{index:04}.jpg", quality=QUALITY)


@contextmanager
def one_thread() -> Iterator[None]:
    """What the libraries do in parallel they do one after the other, as in a loader's worker."""
    threads, opened = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(opened)


class PipelineBench:
    """A pipeline on some files, a batch at a time.

    Args:
        name: how it is called in results.
        transforms: ``dict -> dict``.
        start: makes the dict that the first transform sees of (path, index, epoch).
        collate: makes a batch of samples.
        reads: whether the file is read as a stage of its own, and given as ``file``.
    """

    def __init__(
        self,
        name: str,
        transforms: Sequence[Callable[[Any], Any]],
        start: Callable[[str, int, int], dict[str, Any]],
        collate: Callable[[Any], Any],
        reads: bool,
    ) -> None:
        self.name, self.transforms, self.start = name, transforms, start
        self.collate, self.reads = collate, reads

    def batch(self, paths: Sequence[str], epoch: int) -> dict[str, float]:
        """Seconds of the processor that each stage took for a batch of these files."""
        spent: dict[str, float] = defaultdict(float)

        def timed(stage: str, work: Callable[[Any], Any], value: Any) -> Any:
            begin = time.process_time()
            result = work(value)
            spent[stage] += time.process_time() - begin
            return result

        samples = []
        for index, path in enumerate(paths):
            results: Any = self.start(path, index, epoch)
            if self.reads:
                content = timed("read", Path.read_bytes, Path(path))
                results["file"] = BytesIO(content)
            for transform in self.transforms:
                kind = type(transform).__name__
                results = timed(STAGES.get(kind, kind), transform, results)
            samples.append(results)
        timed("collate", self.collate, samples)
        return dict(spent)


def own_pipeline(config: Config) -> PipelineBench:
    """The pipeline of a pretraining config's training data."""
    loader = config.train_dataloader
    collate = FUNCTIONS.get(loader.collate_fn.type)

    def start(path: str, index: int, epoch: int) -> dict[str, Any]:
        return {"path": path, "index": index, "key": SampleKey(index, epoch)}

    return PipelineBench("ours", compose(loader.dataset.pipeline), start, collate, reads=True)


def peer_pipeline(method: str) -> PipelineBench:
    """mmpretrain's pipeline of the same method, from its own config.

    It reads and decodes in one transform, so these are one stage.

    Raises:
        UserError: mmpretrain is not installed, or has no such method.
    """
    if method not in RECIPES:
        raise UserError(
            f"--peer mmpretrain: there is no pipeline of {method}; there are those of "
            f"{', '.join(RECIPES)}."
        )
    folder = require_peer()
    from mmpretrain.registry import TRANSFORMS as PEER_TRANSFORMS

    with DefaultScope.overwrite_default_scope(SCOPE):
        config = Config.fromfile(folder / RECIPES[method].config)
        pipeline = config.train_dataloader.dataset.pipeline
        transforms = [PEER_TRANSFORMS.build(transform) for transform in pipeline]

    def start(path: str, index: int, epoch: int) -> dict[str, Any]:
        return {"img_path": path, "sample_idx": index}

    return PipelineBench(SCOPE, transforms, start, default_collate, reads=False)


def measure_pipelines(
    benches: Sequence[PipelineBench], paths: Sequence[str], batch_size: int, repeat: int
) -> list[list[dict[str, float]]]:
    """Take turns batch by batch on the same files; a first round is not kept.

    Returns:
        of each bench, the stages' seconds of each of ``repeat`` batches.
    """
    kept: list[list[dict[str, float]]] = [[] for _ in benches]
    with one_thread():
        for epoch in range(repeat + 1):
            first = epoch * batch_size
            chosen = [paths[(first + i) % len(paths)] for i in range(batch_size)]
            order = range(len(benches))
            for index in reversed(order) if epoch % 2 else order:
                stages = benches[index].batch(chosen, epoch)
                if epoch:
                    kept[index].append(stages)
    return kept


def pipeline_line(
    name: str,
    batches: Sequence[dict[str, float]],
    batch_size: int,
    against: Sequence[dict[str, float]] | None = None,
) -> str:
    """One JSON line; ``against`` adds the ratio of times over another pipeline, batch by batch."""
    totals = [sum(stages.values()) for stages in batches]
    milliseconds = {
        stage: round(statistics.median(b[stage] for b in batches) / batch_size * 1000, 3)
        for stage in batches[0]
    }
    values: dict[str, object] = {
        "pipeline": name,
        "images_per_core_s": round(batch_size / statistics.median(totals), 1),
        "stages_ms_per_image": milliseconds,
    }
    if against is not None:
        others = [sum(stages.values()) for stages in against]
        pairs = zip(totals, others, strict=True)
        values["time_ratio"] = round(statistics.median(a / b for a, b in pairs), 3)
    return json.dumps(values)
