"""Configs of all methods with tiny widths."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from benchmark import StepBench, load_config
from gpu_checks.small import narrow_heads

METHODS = ("mae", "lomar", "lomar-beit", "cae", "beit", "simmim", "mocov3", "simclr", "byol",
           "simsiam", "mocov2", "dino", "moby", "repre-mocov3", "mtssl")  # fmt: skip
WIDTH, DEPTH = 48, 4


def tiny_config(method: str, arch: str = "ViT-B/16", image_size: int = 128) -> Config:
    init_default_scope("mmvitssl")
    config = load_config(method, arch, image_size)
    if arch != "Swin-T":
        config.model.encoder.arch = dict(embed_dim=WIDTH, depth=DEPTH, num_heads=4)
    return narrow_heads(config)


def tiny_bench(method: str, arch: str = "ViT-B/16", **settings: Any) -> StepBench:
    settings = {"batch_size": 2, "tokenizer_width": 8, **settings}
    size = settings.pop("image_size", 128)
    return StepBench(method, tiny_config(method, arch, size), **settings)
