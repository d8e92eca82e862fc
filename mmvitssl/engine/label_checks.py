"""What can be wrong with labels and heads of a classifier that was built, found before it runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mmengine.runner import Runner

from mmvitssl.checkpoint.safe import load_file
from mmvitssl.datasets import SampleKey
from mmvitssl.datasets.cached import CachedFeatures
from mmvitssl.datasets.classes import share_classes
from mmvitssl.engine.hooks import FeatureCacheHook
from mmvitssl.engine.launch import UserError, bare_model
from mmvitssl.models.algorithms import ImageClassifier
from mmvitssl.models.backbones.patch_tokens import check_channels
from mmvitssl.models.data_preprocessor import training_sizes


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
        _check_labelled(name, loader.dataset)
    _share_classes({f"{name}.dataset": loader.dataset for name, loader in loaders.items()})
    for name, loader in loaders.items():
        _check_labels(model, name, loader.dataset)
        _check_cache(runner, model, name, loader.dataset)
        _check_size(model, name, loader.dataset)
    if "train_dataloader" in loaders:
        _check_pairs(model, loaders["train_dataloader"])


def _check_labelled(name: str, dataset: Any) -> None:
    if getattr(dataset, "labels", None) is None:
        raise UserError(
            f"{name}.dataset: {type(dataset).__name__} has no labels here. Use LabelledFolder (one "
            f"sub-folder per class), ImageList with labelled=True, or PackedImages of a file with "
            f"labels."
        )


def _check_labels(model: ImageClassifier, name: str, dataset: Any) -> None:
    labels = dataset.labels
    width = model.head.num_classes
    classes = len(dataset.classes) or int(labels.max()) + 1
    known = bool(dataset.classes)
    if labels.min() < 0 or labels.max() >= width or (known and classes != width):
        raise UserError(
            f"{name}.dataset has {classes} classes (labels {labels.min()} to {labels.max()}), but "
            f"model.head.num_classes={width}: set --cfg-options model.head.num_classes={classes}, "
            f"or the data set that the config means."
        )


def _share_classes(datasets: dict[str, Any]) -> None:
    """Number the classes of all data sets as the first one does."""
    if datasets:
        try:
            share_classes(datasets)
        except ValueError as error:
            raise UserError(str(error)) from error


def check_trained_classes(runner: Runner, path: str) -> None:
    """Number the classes of the test data as those that a classifier was trained on.

    Args:
        runner: with its test loop built.
        path: of the checkpoint, whose ``dataset_meta`` names its classes.

    Raises:
        UserError: classes that were not trained, or were and are not there.
    """
    loop = runner.test_loop
    dataset = loop.dataloader.dataset  # type: ignore[union-attr]
    if not isinstance(bare_model(runner), ImageClassifier) or not len(dataset.classes):
        return
    meta = load_file(path).get("meta") or {}
    trained = list((meta.get("dataset_meta") or {}).get("classes") or ())
    if trained:
        reference = SimpleNamespace(classes=trained, labels=None)
        _share_classes({f"the checkpoint {path}": reference, "test_dataloader.dataset": dataset})


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
    views = dataset[SampleKey(0)]["views"]
    try:
        sizes = [(view.shape[-2], view.shape[-1]) for view in views]
        if name == "train_dataloader":
            sizes = training_sizes(model.data_preprocessor, views)
        for view, size in zip(views, sizes, strict=True):
            model.encoder.grid_of(size)
            check_channels(model.encoder, view[None])
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
