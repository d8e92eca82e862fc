"""Configs of methods by name, at any width and image size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmvitssl.models.backbones.architectures import architecture

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ARCHS = {"ViT-S/16": "vit-small", "ViT-B/16": "vit-base", "ViT-L/16": "vit-large",
         "Swin-T": "swin-tiny"}  # fmt: skip
# where configs lie whose folder is not called like their method
FOLDERS = {"repre": "repre", "lomar-beit": "lomar", "mtssl": "mtssl", "sit": "mtssl"}
WIDTH_KEYS = ("in_channels", "width")


def find_config(method: str, arch: str) -> Path:
    """The config of a method with the fewest epochs; ``repre-mocov3:literal`` is an ablation.

    Raises:
        ValueError: there is none.
    """
    if arch not in ARCHS:
        raise ValueError(f"--arch {arch} is unknown; use one of {', '.join(ARCHS)}.")
    name, _, variant = method.partition(":")
    folder = next((FOLDERS[key] for key in FOLDERS if name.startswith(key)), name)
    if variant:
        pattern = f"{name}_{ARCHS[arch]}_{variant}-*.py"
    else:
        pattern = f"{name}_{ARCHS[arch]}_[0-9]*xb*_in1k.py"
    found = sorted((CONFIGS / folder).rglob(pattern), key=lambda path: (len(path.name), path.name))
    if not found:
        known = sorted({path.name.split("_")[0] for path in CONFIGS.glob("*/*_in1k.py")
                        if path.name.startswith(path.parent.name)})  # fmt: skip
        raise ValueError(
            f"No config {folder}/{pattern} for --method {method} --arch {arch}. Methods with "
            f"configs, of one arch or another: {', '.join(known)}."
        )
    return found[0]


def load_config(method: str, arch: str, image_size: int | None = None) -> Config:
    """The config of a method for an arch and an image size.

    A plain ViT without a config of its own (BEiT is published from ViT-B on) is the ViT-B config
    with the encoder and the ``in_channels`` of what reads it changed.

    Args:
        method: as configs are called.
        arch: one of :data:`ARCHS`.
        image_size: side in pixels; None: the config's.

    Raises:
        ValueError: there is no such config, or the size does not fit.
    """
    try:
        config = Config.fromfile(find_config(method, arch))
    except ValueError:
        if not ARCHS.get(arch, "").startswith("vit-"):
            raise
        config = Config.fromfile(find_config(method, "ViT-B/16"))
        set_width(config, {"base": ARCHS[arch].removeprefix("vit-")})
    if image_size is not None:
        resize_config(config, image_size)
    return config


def _dicts(node: Any) -> Iterator[dict[str, Any]]:
    """A config's dicts, outer ones first."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _dicts(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _dicts(value)


def set_width(config: Config, arch: Mapping[str, Any]) -> None:
    """Give a config's ViT another arch; modules that read its tokens follow in width.

    Args:
        config: changed.
        arch: as :class:`~mmvitssl.models.ViT` takes it.
    """
    old = architecture(config.model.encoder.get("arch", "base"))["embed_dim"]
    new = architecture(arch)["embed_dim"]
    config.model.encoder.arch = dict(arch)
    for node in _dicts(config.model.tasks):
        for key in WIDTH_KEYS:
            if node.get(key) == old:
                node[key] = new


def _multi_view(config: Config) -> Any:
    pipeline = config.train_dataloader.dataset.pipeline
    return next(transform for transform in pipeline if transform.type == "MultiView")


def view_sizes(config: Config) -> list[tuple[int, int]]:
    """Height and width of the views that a config's pipeline makes."""
    sizes: list[tuple[int, int]] = []
    for entry in _multi_view(config).views:
        size = [t.size for t in entry.transforms if "size" in t][-1]
        pair = (size, size) if isinstance(size, int) else (size[0], size[1])
        sizes += [pair] * entry.get("num", 1)
    return sizes


def resize_config(config: Config, image_size: int) -> None:
    """Change the image size of a config.

    Views change in proportion, to whole patches; the encoder's tables, the grids of decoders and
    the numbers of masked or asked patches follow.

    Raises:
        ValueError: the patch does not divide the size.
    """
    encoder = config.model.encoder
    old, patch = encoder.get("image_size", 224), encoder.get("patch_size", 16)
    if image_size == old:
        return
    if image_size % patch:
        raise ValueError(
            f"--image-size {image_size} cannot be cut into patches of {patch} pixels: use "
            f"{image_size - image_size % patch or patch}."
        )
    if encoder.type == "ViT":
        encoder.image_size = image_size
    for entry in _multi_view(config).views:
        for transform in entry.transforms:
            if "size" in transform:
                step = patch // 2 if "same_as" in entry else patch  # a tokenizer's view is halved
                transform.size = max(round(transform.size * image_size / old / step), 1) * step
    share = (image_size / old) ** 2
    for node in _dicts(config.model.tasks):
        if node.get("grid") == old // patch:
            node["grid"] = image_size // patch
        for key in ("num_masked", "patches", "cells"):
            if isinstance(node.get(key), int):
                node[key] = max(round(node[key] * share), 1)
