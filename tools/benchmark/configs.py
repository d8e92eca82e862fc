"""Configs of methods by the names that papers use for architectures."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmvitssl.apis.recipes import (
    CONFIGS,
    find_recipe,
    load_recipe,
    view_sizes,
)

ARCHS = {"ViT-S/16": "vit-small", "ViT-B/16": "vit-base", "ViT-L/16": "vit-large",
         "Swin-T": "swin-tiny"}  # fmt: skip

__all__ = ["ARCHS", "CONFIGS", "find_config", "load_config", "view_sizes"]


def _known(arch: str) -> str:
    if arch not in ARCHS:
        raise ValueError(f"--arch {arch} is unknown; use one of {', '.join(ARCHS)}.")
    return ARCHS[arch]


def find_config(method: str, arch: str) -> Path:
    """The config of a method with the fewest epochs; ``repre-mocov3:literal`` is an ablation.

    Raises:
        ValueError: there is none.
    """
    return find_recipe(method, _known(arch))


def load_config(method: str, arch: str, image_size: int | None = None) -> Config:
    """The config of a method for one of :data:`ARCHS` and an image size (None: the config's).

    Raises:
        ValueError: there is no such config, or the size does not fit.
    """
    return load_recipe(method, _known(arch), image_size)[0]
