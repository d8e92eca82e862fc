"""Options that make the training of a full-size config two steps of a tiny model."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from gpu_checks.small import dicts, narrow_heads
from mmvitssl.engine.config_files import RUNNER_KEYS
from mmvitssl.engine.image_size import resize_config

STEPS = 2
IMAGES = 8  # of each training set of the workspace
WIDTH, HEADS = 32, 2
SWIN = dict(embed_dim=24, num_heads=[1, 2, 4, 8])
SIZE = 128  # of views in pretraining
DENSE_SIZE = 64  # of crops in detection and segmentation
CLASSES = 2  # of the workspace's ImageNet
VOCABULARY = 512  # of the workspace's tokenizers


def _kind(node: Any) -> str:
    return str(node.get("type", "")).rsplit(".", 1)[-1]


def _small_encoder(encoder: Any, size: int | None) -> None:
    """Few channels; blocks, positions and all else as the config says."""
    if _kind(encoder) == "SwinTransformer":
        encoder.arch = {**_arch(encoder.get("arch", "tiny")), **SWIN}
        return
    encoder.arch = {**_arch(encoder.get("arch", "base")), "embed_dim": WIDTH, "num_heads": HEADS}
    if size is not None:
        encoder.image_size = size


def _arch(arch: Any) -> dict[str, Any]:
    return dict(base=arch) if isinstance(arch, str) else dict(arch)


def _small_pretraining(config: Config) -> None:
    encoder = config.model.encoder
    if _kind(encoder) == "SwinTransformer":
        _small_encoder(encoder, None)
    else:
        _small_encoder(encoder, SIZE)
        resize_config(config, SIZE)
    narrow_heads(config)
    for node in dicts(config.model.tasks):
        if "vocabulary" in node:
            node["vocabulary"] = VOCABULARY


def _small_classifier(config: Config) -> None:
    _small_encoder(config.model.encoder, SIZE)
    resize_config(config, SIZE)
    head = config.model.head
    if head.get("num_classes") == 1000:
        head.num_classes = CLASSES
    if "num_heads" in head:
        head.num_heads = HEADS


def _small_dense(config: Config) -> None:
    """Detectors and segmentors: at most WIDTH channels everywhere, and small images."""
    model = config.model
    crops = [t["crop_size"] for t in dicts(config.train_dataloader) if "crop_size" in t]
    scales = [t["scale"] for t in dicts(config.train_dataloader) if "scale" in t]
    share = DENSE_SIZE / max(crops[0] if crops else scales[0])
    for node in dicts(model):
        for key in list(node):
            if key == "channels" or key.endswith("_channels"):
                node[key] = _at_most(node[key], WIDTH)
        for key, most in (("nms_pre", 50), ("max_per_img", 20), ("num", 16)):
            if isinstance(node.get(key), int):
                node[key] = min(node[key], most)
    _small_encoder(model.backbone.encoder, DENSE_SIZE)
    for part in ("train", "val", "test"):
        for node in dicts(config.get(f"{part}_dataloader")):
            for key in ("scale", "crop_size"):
                if key in node:
                    node[key] = tuple(round(side * share) for side in node[key])
            if "scales" in node:
                node["scales"] = [tuple(round(x * share) for x in pair) for pair in node["scales"]]
    if "size" in model.get("data_preprocessor", {}):
        model.data_preprocessor.size = (DENSE_SIZE, DENSE_SIZE)
    test = model.get("test_cfg", {})
    for key in ("crop_size", "stride"):
        if key in test:
            test[key] = tuple(round(side * share) for side in test[key])


def _at_most(value: Any, most: int) -> Any:
    if isinstance(value, (list, tuple)):
        return [_at_most(item, most) for item in value]
    return min(value, most) if isinstance(value, int) else value


def _small_model(config: Config) -> None:
    kind = _kind(config.get("model", {}))
    if kind == "Pretrainer":
        _small_pretraining(config)
    elif kind == "ImageClassifier":
        _small_classifier(config)
    elif kind == "DiscreteVAE":
        config.model.update(vocabulary=VOCABULARY, hidden=16, codes=16, blocks=1)
    elif "encoder" in config:  # nearest neighbours
        _small_encoder(config.encoder, SIZE)
        resize_config(config, SIZE)
    elif "backbone" in config.get("model", {}):
        _small_dense(config)


def _two_steps(config: Config, processes: int) -> None:
    """Two steps over the workspace's data, on CPUs, with everything logged."""
    for part in ("train", "val", "test"):
        loader = config.get(f"{part}_dataloader")
        if loader is None:
            continue
        loader.batch_size = IMAGES // STEPS // processes if part == "train" else 1
        loader.num_workers = 0
        loader.persistent_workers = False
    for node in dicts(config._cfg_dict):
        if "workers" in node:
            node["workers"] = 0
        if "times" in node:
            node["times"] = 1
        if "fraction" in node:  # of the labels
            node["fraction"] = 1.0
    loop = config.get("train_cfg")
    if loop:
        key = "max_epochs" if "max_epochs" in loop else "max_iters"
        loop[key] = 1 if key == "max_epochs" else STEPS
        if "val_interval" in loop:
            loop.val_interval = loop[key]
        hooks = config.setdefault("default_hooks", {})
        for name in ("logger", "checkpoint"):
            hooks.setdefault(name, {})["interval"] = loop[key] if name == "checkpoint" else 1
    if config.get("optim_wrapper", {}).get("type") == "AmpOptimWrapper":
        config.optim_wrapper.type = "OptimWrapper"


def _differences(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Leaves in which two configs differ, as ``a.b.0.c`` and the new value."""
    if isinstance(new, dict):
        if not isinstance(old, dict):
            yield f"{path}._delete_", True
            old = {}
        for key, value in new.items():
            if key not in old or old[key] != value:
                yield from _differences(old.get(key), value, f"{path}.{key}" if path else str(key))
    elif isinstance(new, list) and any(isinstance(item, (dict, list)) for item in new) and old:
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            if before != after:
                yield from _differences(before, after, f"{path}.{index}")
    else:
        yield path, new


def _written(value: Any) -> str:
    """As ``--cfg-options`` reads it."""
    if isinstance(value, (list, tuple)):
        marks = "[]" if isinstance(value, list) else "()"
        return marks[0] + ",".join(_written(item) for item in value) + marks[1]
    return str(value)


def small_options(config: Config, processes: int = 1) -> list[str]:
    """``KEY=VALUE`` of ``--cfg-options`` that make a config small.

    Args:
        config: full-size, with the options that the command already has; changed.
        processes: that share a step's images.
    """
    before = copy.deepcopy(config._cfg_dict.to_dict())
    _small_model(config)
    _two_steps(config, processes)
    after = config._cfg_dict.to_dict()
    trained = "model" in after  # of such configs, variables cannot be options
    return [
        f"{key}={_written(value)}"
        for key, value in _differences(before, after, "")
        if not trained or key.partition(".")[0] in RUNNER_KEYS
    ]
