"""A training step of a config-built model on images that are there already."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch.utils.flop_counter import FlopCounterMode

from mmvitssl.models.targets import TokenTarget
from mmvitssl.models.tokenizers import DalleTokenizer
from mmvitssl.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ARCHS = {"ViT-S/16": "vit-small", "ViT-B/16": "vit-base", "ViT-L/16": "vit-large",
         "Swin-T": "swin-tiny"}  # fmt: skip
FOLDERS = {"repre": "repre", "lomar-beit": "lomar"}


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
        raise ValueError(f"No config {folder}/{pattern} for --method {method} --arch {arch}.")
    return found[0]


def view_sizes(config: Config) -> list[tuple[int, int]]:
    """Height and width of the views that a config's pipeline makes."""
    sizes: list[tuple[int, int]] = []
    multi_view = next(t for t in config.train_dataloader.dataset.pipeline if t.type == "MultiView")
    for entry in multi_view.views:
        size = [t.size for t in entry.transforms if "size" in t][-1]
        pair = (size, size) if isinstance(size, int) else (size[0], size[1])
        sizes += [pair] * entry.get("num", 1)
    return sizes


def resize_config(config: Config, image_size: int) -> None:
    """Change the image size of a config: views in proportion, the encoder's tables with them."""
    old = config.model.encoder.get("image_size", 224)
    if image_size == old:
        return
    config.model.encoder.image_size = image_size
    multi_view = next(t for t in config.train_dataloader.dataset.pipeline if t.type == "MultiView")
    for entry in multi_view.views:
        for transform in entry.transforms:
            if "size" in transform:
                transform.size = transform.size * image_size // old


class StepBench:
    """Forward, backward, optimizer and momentum update of one config.

    Args:
        name: how it is called in results.
        config: of a pretraining; its data are not read.
        batch_size: images.
        device: 'cpu' or 'cuda'.
        amp: 'bf16' or 'fp32'.
        compile: whether the encoders are compiled.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        batch_size: int,
        device: str = "cpu",
        amp: str = "fp32",
        compile: bool = False,
    ) -> None:
        torch.manual_seed(0)
        self.name, self.device, self.batch_size = name, torch.device(device), batch_size
        self.model: Any = MODELS.build(config.model).to(self.device).train()
        wrapper = {**config.optim_wrapper, "type": "AutocastOptimWrapper", "precision": amp}
        wrapper.pop("accumulative_counts", None)
        self.optim_wrapper = build_optim_wrapper(self.model, wrapper)
        for module in self.model.modules():
            if isinstance(module, TokenTarget) and not module._loaded:
                tokenizer = DalleTokenizer(module.out_channels, decoder=False)
                module._loaded.append(tokenizer.eval().requires_grad_(False))
        if compile:
            self.model.encoder.compile()
        images = [torch.randint(256, (batch_size, 3, *size), dtype=torch.uint8)
                  for size in view_sizes(config)]  # fmt: skip
        number = torch.arange(batch_size)
        samples = {"index": number, "epoch": torch.zeros_like(number)}
        self.batch: dict[str, Any] = {
            "views": [view.to(self.device) for view in images],
            "samples": samples,
        }
        self.steps = 0

    @property
    def parameters(self) -> int:
        """Trained parameters."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def step(self) -> None:
        """One training step; the samples' epoch counts up, so that masks differ."""
        target = self.model.target
        if target is not None and target.when == "before_forward":
            self.model.update_target(0.0)
        self.batch["samples"]["epoch"].fill_(self.steps)
        self.model.train_step(self.batch, self.optim_wrapper)
        if target is not None and target.when == "after_step":
            self.model.update_target(0.0)
        self.steps += 1

    def timed(self) -> float:
        """Seconds of one step, the device's work included."""
        self._wait()
        start = time.perf_counter()
        self.step()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def flops(self) -> int:
        """Floating-point operations of one step, matrix products and convolutions only."""
        counter = FlopCounterMode(display=False)
        with counter:
            self.step()
        return counter.get_total_flops()


def matmul_rate(device: str, amp: str, size: int = 2048, seconds: float = 1.0) -> float:
    """Floating-point operations a second of a square matrix product, the best of several."""
    dtype = torch.bfloat16 if amp == "bf16" else torch.float32
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    best, spent = float("inf"), 0.0
    while spent < seconds:
        start = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        took = time.perf_counter() - start
        best, spent = min(best, took), spent + took
    return 2 * size**3 / best
