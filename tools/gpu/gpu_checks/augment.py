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
from mmvitssl.datasets import ResidentImages, SampleKey
from mmvitssl.models.augment import DeviceAugment

CONFIG = ROOT / "configs/mocov3/fast/mocov3_vit-small_device-augment-32xb128-cosine-300e_in1k.py"
SHARE = 1e-3  # of the pixels may be rounded to another level


def build(views: Any = None) -> DeviceAugment:
    """The augmentation of the shipped recipe, or of other views."""
    views = views or Config.fromfile(CONFIG).model.data_preprocessor.augment["views"]
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        return DeviceAugment(views)


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


class Images:
    """Random images of one size, as a data set."""

    labels = None

    def __init__(self, number: int, side: int) -> None:
        generator = torch.Generator().manual_seed(0)
        size = (number, 3, side, side)
        self.pixels = torch.randint(256, size, dtype=torch.uint8, generator=generator)
        self.paths = [f"image {index}" for index in range(number)]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        return {"views": [self.pixels[key.index]]}


def resident_images(device: str, number: int = 256, side: int = 32) -> str:
    """Batches gathered and cropped on the device: the CPU's views, without waiting for it."""
    flip = dict(type="RandomFlip")
    crops = [dict(type="RandomResizedCrop", size=size, scale=(0.2, 1.0)) for size in (side, 16)]
    views = [dict(transforms=[crop, flip], num=2) for crop in crops]
    augment, keys = build(views), [SampleKey(index, 2) for index in range(0, number, 2)]

    def made(place: str) -> tuple[ResidentImages, list[Tensor]]:
        kept = ResidentImages(Images(number, side), num_views=4, device=place)
        batch = kept.__getitems__(keys)
        return kept, augment(batch["views"], batch["samples"])

    expected, (kept, found) = made("cpu")[1], made(device)
    if torch.equal(expected[0], expected[1]) or expected[2].shape[-1] != 16:
        raise AssertionError("the views are not augmented at all")
    pairs = list(zip([view.cpu() for view in found], expected, strict=True))
    share = sum(float((a != b).float().mean()) for a, b in pairs) / len(pairs)
    close("share of other pixels", share, SHARE)
    text = f"{share:.1e} of the pixels differ from the CPU's"
    if device == "cpu":
        return text
    with no_synchronisation():
        batch = kept.__getitems__(keys)
        augment(batch["views"], batch["samples"])
    return f"{text}; no waiting; {_rate(augment, batch['views'], batch['samples']):.0f} views/s"
