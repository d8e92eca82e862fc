"""The same training with its images on the device: no worker decodes, crops or uploads."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from mmvitssl.engine.launch import UserError
from mmvitssl.models.augment import DeviceAugment

FOR_WORKERS = ("persistent_workers", "pin_memory", "prefetch_factor")
PIPELINE = ("LoadImage", "MultiView", "PackViews")


def _packed(loader: Mapping[str, Any]) -> Any:
    """The packed images that a loader reads, which may be inside of others; None: it reads none."""
    dataset = loader.get("dataset")
    while isinstance(dataset, Mapping) and dataset.get("type") != "PackedImages":
        dataset = dataset.get("dataset")
    return dataset


def _split(where: str, pipeline: list[Any]) -> tuple[list[Any], dict[str, Any], int]:
    """A pipeline that only decodes, the ``DeviceAugment`` that does the rest, how many views."""
    kinds = tuple(step.get("type") for step in pipeline)
    if kinds != PIPELINE:
        raise UserError(f"{where}: images on the device need the pipeline {PIPELINE}, not {kinds}.")
    load, views, pack = copy.deepcopy(pipeline)
    augment = dict(type="DeviceAugment", views=views["views"])
    try:
        number = len(DeviceAugment(augment["views"]).pipelines)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    return [load, dict(type="MultiView", views=[dict(transforms=[])]), pack], augment, number


def resident(config: Config) -> Config:
    """A config whose training images stay decoded on the device, where they are augmented.

    Distributions, order of samples and pixels for the same draws are those of the config; the
    numbers drawn differ (:class:`~mmvitssl.models.augment.DeviceAugment`).

    Args:
        config: of a pretraining or a classifier. One that does not train on ``PackedImages`` is
            returned unchanged: detectors, segmentors and photographs of many sizes.

    Returns:
        a changed copy.

    Raises:
        UserError: a transform does not run on the device, or the pipeline is another than
            ``LoadImage``, ``MultiView``, ``PackViews``.
    """
    changed = copy.deepcopy(config)
    loader = changed.train_dataloader
    packed = _packed(loader)
    if packed is None:
        return changed
    preprocessor = changed.model.data_preprocessor
    if preprocessor.get("augment") is not None:
        raise UserError(
            "model.data_preprocessor.augment is set already: leave all transforms in the pipeline, "
            "from which they move to the device."
        )
    where = "train_dataloader.dataset.pipeline"
    packed.pipeline, preprocessor.augment, number = _split(where, packed.pipeline)
    loader.dataset = dict(type="ResidentImages", num_views=number, dataset=loader.dataset)
    loader.num_workers = 0
    for key in FOR_WORKERS:
        loader.pop(key, None)
    return changed
