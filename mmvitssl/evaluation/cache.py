"""Features of a data set for the head alone: computed once, in memory or in a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, barrier
from torch import Tensor
from torch.utils.data import DataLoader

from mmvitssl.datasets import SampleKey
from mmvitssl.datasets.cached import CachedFeatures
from mmvitssl.datasets.collate import collate_views
from mmvitssl.distributed import rank, world_size
from mmvitssl.evaluation.features import evaluating
from mmvitssl.writing import write_text


def fingerprint(model: Any, dataset: CachedFeatures) -> str:
    """Changes with the encoder's weights, what is read of it, the images and their pipeline."""
    digest = hashlib.sha256(json.dumps([model.readout, bool(model.head.tokens)]).encode())
    preprocessor = model.data_preprocessor
    state = {**model.encoder.state_dict(), "mean": preprocessor.mean, "std": preprocessor.std}
    for name, value in state.items():
        digest.update(name.encode())
        digest.update(
            value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        )
    for path in dataset.paths:
        digest.update(path.encode())
    for index in {0, len(dataset) - 1}:
        for view in dataset.dataset[SampleKey(index)]["views"]:
            digest.update(f"{tuple(view.shape)}".encode())
            digest.update(view.numpy().tobytes())
    return digest.hexdigest()


def encoded(
    model: Any, dataset: CachedFeatures, rows: Sequence[int], batch_size: int, workers: int
) -> Iterator[Tensor]:
    """Features of some images, a batch at a time, on the CPU in float32."""
    loader: DataLoader[Any] = DataLoader(
        dataset.dataset,
        batch_size=batch_size,
        sampler=[SampleKey(row) for row in rows],
        num_workers=workers,
        collate_fn=collate_views,
    )
    with evaluating(model):
        for batch in loader:
            views = model.data_preprocessor(batch, False)["views"]
            yield model.features(views[0].images).float().cpu()


def fill(model: Any, dataset: CachedFeatures, batch_size: int = 256, workers: int = 0) -> bool:
    """Compute the features of a data set, every process a part of them; once.

    Args:
        model: an :class:`~mmvitssl.models.algorithms.ImageClassifier` without a wrapper, whose
            encoder is frozen.
        dataset: is given the features.
        batch_size: images a pass.
        workers: processes that read images.

    Returns:
        whether they were computed: False where they were there, or in the file.
    """
    if dataset.values is not None:
        return False
    rows = range(rank(), len(dataset), world_size())
    if dataset.file is not None:
        return _fill_file(model, dataset, rows, batch_size, workers)
    own = list(encoded(model, dataset, rows, batch_size, workers))
    parts = all_gather_object(torch.cat(own) if own else None)
    shape = next(part.shape[1:] for part in parts if part is not None)
    values = torch.empty(len(dataset), *shape)
    for number, part in enumerate(parts):
        if part is not None:
            values[number :: len(parts)] = part
    dataset.values = values
    return True


def _fill_file(
    model: Any, dataset: CachedFeatures, rows: Sequence[int], batch_size: int, workers: int
) -> bool:
    assert dataset.file is not None
    path = Path(dataset.file)
    stamp = path.with_suffix(".json")
    mark = {"fingerprint": fingerprint(model, dataset)}
    fresh = path.is_file() and stamp.is_file() and json.loads(stamp.read_text()) == mark
    barrier()  # all have looked before the first one writes
    if not fresh:
        _write(model, dataset, path, rows, batch_size, workers)
        barrier()
        if rank() == 0:
            write_text(stamp, json.dumps(mark))
    # copy-on-write: torch wants memory that could be written to
    dataset.values = torch.from_numpy(np.load(path, mmap_mode="c"))
    return not fresh


def _write(
    model: Any,
    dataset: CachedFeatures,
    path: Path,
    rows: Sequence[int],
    batch_size: int,
    workers: int,
) -> None:
    """Every process writes its rows into one file, which all must see."""
    if rank() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)
        sample = next(encoded(model, dataset, [0], 1, 0))
        shape = (len(dataset), *sample.shape[1:])
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    barrier()
    values, start = np.load(path, mmap_mode="r+"), 0
    for batch in encoded(model, dataset, rows, batch_size, workers):
        values[list(rows[start : start + len(batch)])] = batch.numpy()
        start += len(batch)
    values.flush()
