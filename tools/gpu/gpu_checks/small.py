"""Every method's shipped config, made small without changing its structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

import mmvitssl.compat  # noqa: F401  (before any config is read)
from benchmark import StepBench, load_config
from mmvitssl.engine import launch

MASKED = ("mae", "simmim", "beit", "cae", "lomar", "lomar-beit", "mtssl-all", "sit")
CONTRASTIVE = (
    "mocov3", "repre-mocov3", "mocov3/Swin-T", "mocov2", "simclr", "byol", "simsiam", "dino",
    "moby",
)  # fmt: skip
METHODS = (*MASKED, *CONTRASTIVE)
IMAGE_SIZE, DEPTH = 128, 4
SWIN = dict(embed_dim=24, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))
NARROW_HEADS = dict(hidden_channels=64, prototypes=96, num_heads=4, vocabulary=96)


@dataclass(frozen=True)
class Size:
    """How large a method is made.

    Attributes:
        width: of the encoder's tokens.
        heads: of its attention.
        batch: images of a step.
        narrow: whether decoders, projectors, vocabularies and queues are made small too.
        tokenizer: channels of the frozen tokenizer's first group.
    """

    width: int
    heads: int
    batch: int
    narrow: bool
    tokenizer: int


SIZES = {
    "cpu": Size(width=24, heads=2, batch=8, narrow=True, tokenizer=8),
    "cuda": Size(width=96, heads=3, batch=16, narrow=False, tokenizer=32),
}


def dicts(node: Any) -> Iterator[dict[str, Any]]:
    """All dicts of a config, outer ones first."""
    if isinstance(node, dict):
        yield node
    if isinstance(node, (dict, list, tuple)):
        for value in node.values() if isinstance(node, dict) else node:
            yield from dicts(value)


def narrow_heads(config: Config) -> Config:
    """Make heads, decoders, vocabularies and queues of a method small, in place."""
    for node in dicts(config.model.tasks):
        node.update({key: value for key, value in NARROW_HEADS.items() if key in node})
        if node.get("type") == "MAEDecoder":
            node.update(width=64, depth=2)
        if node.get("type") == "QueueInfoNCE":
            node["size"] = 64
    return config


def small_config(name: str, size: Size) -> Config:
    """The shipped config of METHOD or METHOD/ARCH, small and without stochastic depth.

    Without stochastic depth, since two devices draw different random numbers.
    """
    method, _, arch = name.partition("/")
    config = load_config(method, arch or "ViT-S/16", None if arch else IMAGE_SIZE)
    return shrunk(config, size, is_swin=bool(arch))


def shrunk(config: Config, size: Size, is_swin: bool = False) -> Config:
    """Make a method's config small and without stochastic depth, in place.

    Args:
        config: of a ViT, or of a Swin Transformer.
        size: how small.
        is_swin: which of the two.
    """
    if not is_swin:
        config.model.encoder.arch = dict(
            embed_dim=size.width, depth=DEPTH, num_heads=size.heads
        )
    elif size.narrow:
        config.model.encoder.arch = SWIN
    for node in dicts(config.model):
        if "drop_path" in node:
            node["drop_path"] = 0.0
    if size.narrow:
        narrow_heads(config)
    init_default_scope(launch.prepare_scope(config))
    return config


def smooth_views(views: list[Tensor]) -> list[Tensor]:
    """(B, 3, H_v, W_v) uint8 views of B images that differ in their colours, with some noise.

    Embeddings of pure noise are nearly the same for all images. Batch norm then divides by next to
    nothing, and rounding decides the gradients.

    Args:
        views: noise of the same shapes and devices.
    """
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(len(views[0]), 3, 3, 3, generator=generator) * 255
    smooth = []
    for view in views:
        image = F.interpolate(coarse, view.shape[-2:], mode="bilinear", align_corners=True)
        mixed = 0.8 * image + 0.2 * view.cpu().float()
        smooth.append(mixed.round().to(torch.uint8).to(view.device))
    return smooth


def small_bench(name: str, device: str, size: Size, amp: str = "fp32") -> StepBench:
    """A training step of a method; the same weights and images at every call."""
    batch = size.batch // 2 if name.endswith("/Swin-T") else size.batch
    config = small_config(name, size)
    bench = StepBench(name, config, batch, device, amp, tokenizer_width=size.tokenizer)
    bench.batch["views"] = smooth_views(bench.batch["views"])
    return bench
