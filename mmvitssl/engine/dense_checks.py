"""Data sets, heads and evaluators of detectors and segmentors that were built, before they run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmvitssl.checkpoint import load_file
from mmvitssl.engine.coco_checks import check_annotations
from mmvitssl.engine.coco_file import some
from mmvitssl.engine.dataset_tree import Warnings, built_leaves, on_first_process
from mmvitssl.engine.launch import UserError, bare_model
from mmvitssl.engine.mask_checks import annotation_loader, check_folders, check_masks

LOOPS = {"train": "train_loop", "val": "val_loop", "test": "test_loop"}


def check_files(config: Config, parts: tuple[str, ...]) -> None:
    """Look at annotations and folders of mmdet's and mmseg's data sets before they are built.

    Args:
        config: with its default scope's modules imported.
        parts: of 'train', 'val' and 'test', those that will run.

    Raises:
        UserError: see :func:`check_annotations` and :func:`check_folders`.
    """
    checks = {"mmdet": check_annotations, "mmseg": check_folders}
    check = checks.get(config.get("default_scope"))
    if check is not None:
        check(config, parts)


def check_dense(runner: Runner, parts: tuple[str, ...]) -> None:
    """Compare data sets of mmdet and mmseg with the model; does nothing for other scopes.

    Args:
        runner: with its loops built.
        parts: of 'train', 'val' and 'test', those that will run.

    Raises:
        UserError: an empty data set, heads of another number of classes, data sets that name
            their classes differently, or masks that do not fit (:func:`check_masks`).
    """
    scope = runner.default_scope.scope_name
    if scope not in ("mmdet", "mmseg"):
        return
    loops = {part: getattr(runner, LOOPS[part]) for part in parts}
    data = {part: loop.dataloader.dataset for part, loop in loops.items() if loop is not None}
    for part, dataset in data.items():
        field = f"{part}_dataloader.dataset"
        _check_not_empty(field, dataset)
        _check_heads(field, bare_model(runner), _classes(field, dataset))
    _check_same_classes(data)
    if scope == "mmseg":
        for part in data:
            if part != "train":
                _check_has_masks(part, data[part], loops[part].evaluator)
        on_first_process(lambda: _masks(runner, data), UserError)


def _check_not_empty(field: str, dataset: Any) -> None:
    for name, leaf in built_leaves(dataset, field):
        if len(leaf):
            continue
        where = getattr(leaf, "ann_file", "") or ""
        prefix = getattr(leaf, "data_prefix", None) or {}
        folder = prefix.get("img_path") or prefix.get("img") or getattr(leaf, "data_root", "")
        suffix = getattr(leaf, "img_suffix", None)
        raise UserError(
            f"{name} is empty: it found no images in {folder}"
            + (f" that end in '{suffix}' (img_suffix)" if suffix else "")
            + (f" with annotations of its classes in {where}" if where else "")
            + "."
        )


def _classes(field: str, dataset: Any) -> Sequence[str]:
    classes = (getattr(dataset, "metainfo", None) or {}).get("classes")
    if not classes or isinstance(classes, str):
        raise UserError(
            f"{field} has the classes {classes!r}: set metainfo=dict(classes=('name', ...)), a "
            f"tuple of names, with a comma even after a single one."
        )
    return classes


def heads_of(model: nn.Module) -> Iterator[tuple[str, int]]:
    """Every part of a detector or segmentor that has a number of classes.

    As in mmdet's NumClassCheckHook, the RPN, which tells objects from background, does not count.
    """
    for name, module in model.named_modules():
        width = getattr(module, "num_classes", None)
        if not name or not isinstance(width, int) or name.endswith("rpn_head"):
            continue
        if type(module).__name__ not in ("FusedSemanticHead", "VGG"):
            yield f"model.{name}.num_classes", width


def _check_heads(field: str, model: nn.Module, classes: Sequence[str]) -> None:
    wrong = [(name, width) for name, width in heads_of(model) if width != len(classes)]
    if wrong:
        options = " ".join(f"{name}={len(classes)}" for name, _ in wrong)
        raise UserError(
            f"{field} has {len(classes)} classes ({some(classes)}), but "
            + ", ".join(f"{name}={width}" for name, width in wrong)
            + f": set --cfg-options {options}, or metainfo.classes to what the heads are for."
        )


def _check_same_classes(data: dict[str, Any]) -> None:
    meta = {part: dict(dataset.metainfo) for part, dataset in data.items()}
    if len(meta) < 2 or "train" not in meta:
        return
    train = meta["train"]
    for part, other in meta.items():
        if list(other["classes"]) != list(train["classes"]):
            raise UserError(
                f"train_dataloader.dataset has the classes {some(train['classes'])}, but "
                f"{part}_dataloader.dataset {some(other['classes'])}: the same names in the same "
                f"order belong to both."
            )
        if other.get("reduce_zero_label") != train.get("reduce_zero_label"):
            raise UserError(
                f"train_dataloader.dataset has reduce_zero_label={train.get('reduce_zero_label')} "
                f"and {part}_dataloader.dataset {other.get('reduce_zero_label')}: labels would be "
                f"shifted by one between them."
            )


def _check_has_masks(part: str, dataset: Any, evaluator: Any) -> None:
    metrics = [type(metric).__name__ for metric in evaluator.metrics
               if type(metric).__name__ == "IoUMetric" and not metric.format_only]  # fmt: skip
    for field, leaf in built_leaves(dataset, f"{part}_dataloader.dataset"):
        if metrics and annotation_loader(leaf) is None:
            raise UserError(
                f"{part}_evaluator is an IoUMetric, but the pipeline of {field} loads no masks: "
                f"add dict(type='LoadAnnotations') to it, or set format_only=True."
            )


def _masks(runner: Runner, data: dict[str, Any]) -> Warnings:
    from mmseg.datasets import BaseSegDataset

    warnings: Warnings = []
    for part, dataset in data.items():
        for field, leaf in built_leaves(dataset, f"{part}_dataloader.dataset"):
            if isinstance(leaf, BaseSegDataset) and not leaf.backend_args:
                stated = "classes" not in type(leaf).METAINFO or _states(runner, field)
                warnings += check_masks(field, leaf, stated)
    return warnings


def _states(runner: Runner, field: str) -> bool:
    """Whether the config states the classes of a data set."""
    node: Any = runner.cfg
    for key in field.split("."):
        node = node[int(key)] if key.isdigit() else node.get(key) or {}
    return "classes" in (node.get("metainfo") or {})


def check_checkpoint(runner: Runner, path: str | Path, part: str) -> None:
    """Compare the classes of a data set with those that a checkpoint was trained on.

    Args:
        runner: with its loops built.
        path: of the checkpoint; one that names no classes is not compared.
        part: 'train', 'val' or 'test'.

    Raises:
        UserError: other classes, or another order, or another ``reduce_zero_label``.
        FileNotFoundError: there is no such file.
    """
    dataset = getattr(runner, LOOPS[part]).dataloader.dataset
    own = getattr(dataset, "metainfo", None) or {}
    meta = load_file(path).get("meta") or {}
    trained = meta.get("dataset_meta") or {} if isinstance(meta, dict) else {}
    if own.get("classes") and trained.get("classes"):
        if list(own["classes"]) != list(trained["classes"]):
            raise UserError(
                f"{path} was trained on the classes {some(trained['classes'])}, but "
                f"{part}_dataloader.dataset has {some(own['classes'])}: set metainfo=dict(classes="
                f"{tuple(trained['classes'])!r}) of the data set."
            )
    reduced = "reduce_zero_label"
    if reduced in own and reduced in trained and own[reduced] != trained[reduced]:
        raise UserError(
            f"{path} was trained with {reduced}={trained[reduced]}, but {part}_dataloader.dataset "
            f"has {own[reduced]}: labels would be shifted by one."
        )
