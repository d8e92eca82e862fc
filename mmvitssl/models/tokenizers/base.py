"""What a tokenizer is."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Tokenizer(Protocol):
    """Images to ids and back.

    Attributes:
        vocabulary: number of ids.
        stride: pixels a token, per side.
    """

    vocabulary: int
    stride: int

    def tokenize(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, H / stride, W / stride) long."""
        ...

    def decode(self, ids: Tensor) -> Tensor:
        """(B, h, w) long -> (B, 3, h * stride, w * stride) in [0, 1]."""
        ...

    def to(self, device: torch.device) -> Tokenizer: ...


def check_divides(pixels: Tensor, stride: int) -> None:
    """Raise ValueError unless the stride divides the image."""
    height, width = pixels.shape[-2:]
    if height % stride or width % stride:
        raise ValueError(
            f"A tokenizer of stride {stride} cannot cut {height}x{width} pixels: resize to "
            f"multiples of {stride}."
        )
