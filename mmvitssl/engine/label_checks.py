"""What can be wrong with labels and heads of a classifier that was built, found before it runs."""

from __future__ import annotations

from typing import Any

from mmengine.runner import Runner

from mmvitssl.datasets.cached import CachedFeatures
from mmvitssl.engine.hooks import FeatureCacheHook
from mmvitssl.engine.launch import UserError, bare_model
from mmvitssl.models.algorithms import ImageClassifier


def check_classifier(runner: Runner, parts: tuple[str, ...]) -> None:
    """Compare the labels of data sets with the head; does nothing for other models.

    Args:
        runner: with its loops built.
        parts: of 'train', 'val' and 'test', those that will run.

    Raises:
        UserError: images without labels, other classes than the head's or than those trained on,
            image sizes that the patch does not divide, batches that cannot be mixed, or features
            that cannot be cached.
    """
    model = bare_model(runner)
    if not isinstance(model, ImageClassifier):
        return
    loops = {"train": "train_loop", "val": "val_loop", "test": "test_loop"}
    loaders = {}
    for part in parts:
        loop = getattr(runner, loops[part])
        if loop is not None:
            loaders[f"{part}_dataloader"] = loop.dataloader
    for name, loader in loaders.items():
        _check_labels(model, name, loader.dataset)
        _check_cache(runner, model, name, loader.dataset)
        _check_size(model, name, loader.dataset)
    named = {name: list(loader.dataset.classes) for name, loader in loaders.items()}
    if "train_dataloader" in named and "val_dataloader" in named:
        if named["train_dataloader"] and named["val_dataloader"]:
            _check_same(named["train_dataloader"], named["val_dataloader"])
    if "train_dataloader" in loaders:
        _check_pairs(model, loaders["train_dataloader"])


def _check_labels(model: ImageClassifier, name: str, dataset: Any) -> None:
    labels = getattr(dataset, "labels", None)
    if labels is None:
        raise UserError(
            f"{name}.dataset: {type(dataset).__name__} has no labels here. Use LabelledFolder (a "
            f"sub-folder a class), ImageList with labelled=True, or PackedImages of a file with "
            f"labels."
        )
    width = model.head.num_classes
    classes = len(dataset.classes) or int(labels.max()) + 1
    known = bool(dataset.classes)
    if labels.min() < 0 or labels.max() >= width or (known and classes != width):
        raise UserError(
            f"{name}.dataset has {classes} classes (labels {labels.min()} to {labels.max()}), but "
            f"model.head.num_classes={width}: set --cfg-options model.head.num_classes={classes}, "
            f"or the data set that the config means."
        )


def _check_same(train: list[str], val: list[str]) -> None:
    if train != val:
        differing = [f"{a} and {b}" for a, b in zip(train, val, strict=False) if a != b]
        raise UserError(
            f"train_dataloader.dataset and val_dataloader.dataset name their classes differently "
            f"({', '.join(differing[:3])}): set dataset.classes of both."
        )


def _check_cache(runner: Runner, model: ImageClassifier, name: str, dataset: Any) -> None:
    if not isinstance(dataset, CachedFeatures):
        return
    if not any(isinstance(hook, FeatureCacheHook) for hook in runner.hooks):
        raise UserError(
            f"{name}.dataset is CachedFeatures and nothing computes them: add "
            f"dict(type='FeatureCacheHook') to custom_hooks."
        )
    if not model.frozen or model.augment is not None:
        raise UserError(
            f"{name}.dataset is CachedFeatures, which needs model.frozen=True and no "
            f"model.augment: otherwise features change."
        )
    try:
        dataset.check_fixed()
    except ValueError as error:
        raise UserError(f"{name}.dataset: {error}") from error


def _check_size(model: ImageClassifier, name: str, dataset: Any) -> None:
    for view in dataset[0]["views"]:
        try:
            model.encoder.grid_of(tuple(view.shape[-2:]))
        except ValueError as error:
            raise UserError(f"{name}.dataset: {error}") from error


def _check_pairs(model: ImageClassifier, loader: Any) -> None:
    if model.augment is None or not getattr(model.augment, "mixes", False):
        return
    if loader.batch_size % 2 or not loader.drop_last:
        raise UserError(
            f"model.augment mixes the images of a batch in pairs: train_dataloader needs an even "
            f"batch_size ({loader.batch_size}) and drop_last=True."
        )
