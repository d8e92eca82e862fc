"""Augmentation of whole batches on the device."""

from __future__ import annotations

import time
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

import mmvitssl.compat
import mmvitssl.models.registered  # noqa: F401  (registers what the config names)
from gpu_checks.report import ROOT, close
from gpu_checks.steps import no_synchronisation
from mmvitssl.registry import MODELS

CONFIG = ROOT / "configs/mocov3/fast/mocov3_vit-small_device-augment-32xb128-cosine-300e_in1k.py"
SHARE = 1e-3  # of the pixels may be rounded to another level


def build() -> Any:
    """The augmentation of the shipped recipe."""
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        return MODELS.build(Config.fromfile(CONFIG).model.data_preprocessor.augment)


def _rate(augment: Any, views: list[Tensor], samples: dict[str, Tensor], repeat: int = 5) -> float:
    """Views per second on the GPU."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeat):
        augment(views, samples)
    torch.cuda.synchronize()
    return repeat * sum(len(view) for view in views) / (time.perf_counter() - start)


def device_augment(device: str, batch: int = 32, side: int = 224) -> str:
    """The same views as on the CPU for the same samples, without waiting for the device."""
    augment = build()
    generator = torch.Generator().manual_seed(0)
    size = (batch, 3, side, side)
    views = [torch.randint(256, size, dtype=torch.uint8, generator=generator) for _ in range(2)]
    samples = {"index": torch.arange(batch), "epoch": torch.full((batch,), 3)}
    expected = augment(views, samples)
    if all(torch.equal(a, b) for a, b in zip(expected, views, strict=True)):
        raise AssertionError("the views are not augmented at all")
    found = [view.cpu() for view in augment([v.to(device) for v in views], samples)]
    pairs = list(zip(found, expected, strict=True))
    far = max(float((a.float() - b.float()).abs().max()) for a, b in pairs)
    share = sum(float((a != b).float().mean()) for a, b in pairs) / len(pairs)
    close("share of other pixels", share, SHARE)
    text = f"{share:.1e} of the pixels differ from the CPU's, by up to {far:.0f} levels"
    if device == "cpu":
        return text
    moved = [view.to(device) for view in views]
    with no_synchronisation():
        augment(moved, samples)
    return f"{text}; no waiting; {_rate(augment, moved, samples):.0f} views/s"
