"""A training step of a config-built model on images that are there already."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import Tensor, nn

from benchmark.configs import view_sizes
from benchmark.flops import StepFlops, count_flops
from benchmark.memory import can_measure, growth
from mmvitssl.models.targets import TokenTarget
from mmvitssl.models.tokenizers import DalleTokenizer
from mmvitssl.registry import MODELS

MATMUL_SIDE = {"cpu": 2048, "cuda": 8192}  # large enough to fill the device


def synthetic_views(config: Config, batch_size: int) -> list[Tensor]:
    """(B, 3, H_v, W_v) uint8 views of the sizes of a config, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(256, (batch_size, 3, *size), dtype=torch.uint8, generator=generator)
        for size in view_sizes(config)
    ]


class Bench(ABC):
    """Something that makes training steps.

    Attributes:
        name: how it is called in results.
        model: what is trained, with MMEngine's ``train_step``.
        optim_wrapper: MMEngine's wrapper of the optimizer.
        batch_size: images a step.
        device: where.
    """

    name: str
    model: Any
    optim_wrapper: OptimWrapper
    batch_size: int
    device: torch.device

    @abstractmethod
    def step(self) -> None:
        """Forward, backward, optimizer and momentum update."""

    def hidden_modules(self) -> list[nn.Module]:
        """Modules that work in the step but do not lie in the model's tree."""
        return []

    @property
    def parameters(self) -> int:
        """Trained parameters."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def timed(self) -> float:
        """Seconds of one step, the device's work included."""
        self._wait()
        start = time.perf_counter()
        self.step()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def flops(self) -> StepFlops:
        """Operations of one step, which is made."""
        return StepFlops(count_flops(self.step))

    def state_bytes(self) -> int:
        """Bytes that stay between steps: parameters, buffers, frozen parts, optimizer."""
        tensors: dict[int, Tensor] = {}
        for module in (self.model, *self.hidden_modules()):
            for tensor in (*module.parameters(), *module.buffers()):
                tensors[tensor.data_ptr()] = tensor
        for state in self.optim_wrapper.optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    tensors[value.data_ptr()] = value
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

    def peak_bytes(self) -> int | None:
        """Greatest memory of one step, which is made: the state, and what it takes on top.

        Other models in the process do not count. None where the system does not tell.
        """
        if not can_measure(self.device):
            return None
        return growth(self.step, self.device) + self.state_bytes()


class StepBench(Bench):
    """One of our configs.

    Args:
        name: how it is called in results.
        config: of a pretraining; its data are not read.
        batch_size: images.
        device: 'cpu' or 'cuda'.
        amp: 'bf16' or 'fp32'.
        compile: whether the encoder is compiled, as ``--compile`` of the training does.
        tokenizer_width: channels of the frozen tokenizer's first group, whose weights are random.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        batch_size: int,
        device: str = "cpu",
        amp: str = "fp32",
        compile: bool = False,
        tokenizer_width: int = 256,
    ) -> None:
        torch.manual_seed(0)
        self.name, self.device, self.batch_size = name, torch.device(device), batch_size
        self.model: Any = MODELS.build(config.model).to(self.device).train()
        wrapper = {**config.optim_wrapper, "type": "AutocastOptimWrapper", "precision": amp}
        wrapper.pop("accumulative_counts", None)
        self.optim_wrapper = build_optim_wrapper(self.model, wrapper)
        self._tokenizers = self._fill_tokenizers(tokenizer_width)
        if compile:
            self.model.encoder.compile()
        number = torch.arange(batch_size)
        self.batch: dict[str, Any] = {
            "views": [view.to(self.device) for view in synthetic_views(config, batch_size)],
            "samples": {"index": number, "epoch": torch.zeros_like(number)},
        }
        self.steps = 0

    def _fill_tokenizers(self, width: int) -> list[nn.Module]:
        filled: list[nn.Module] = []
        for module in self.model.modules():
            if isinstance(module, TokenTarget) and not module._loaded:
                tokenizer = DalleTokenizer(module.out_channels, hidden=width, decoder=False)
                tokenizer = tokenizer.eval().requires_grad_(False).to(self.device)
                module._loaded.append(tokenizer)
                filled.append(tokenizer)
        return filled

    def hidden_modules(self) -> list[nn.Module]:
        return self._tokenizers

    def flops(self) -> StepFlops:
        """Operations of one step; where it checkpoints, the same step is made without, too."""
        whole, encoder = count_flops(self.step), self.model.encoder
        if not getattr(encoder, "gradient_checkpointing", False):
            return StepFlops(whole)
        encoder.gradient_checkpointing = False
        self.steps -= 1  # with the same masks
        total = count_flops(self.step)
        encoder.gradient_checkpointing = True
        return StepFlops(total, whole - total)

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


def matmul_rate(device: str, amp: str, size: int | None = None, seconds: float = 1.0) -> float:
    """Floating-point operations a second of a square matrix product, the best of several."""
    dtype = torch.bfloat16 if amp == "bf16" else torch.float32
    size = size or MATMUL_SIDE[device]
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
