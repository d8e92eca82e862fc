"""Visual tokens of masked patches as the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from mmvitssl.models.precision import full_precision
from mmvitssl.models.targets.base import Target
from mmvitssl.models.tokenizers import Tokenizer, load_tokenizer
from mmvitssl.registry import MODELS
from mmvitssl.structures import MaskedPatches

if TYPE_CHECKING:
    from mmvitssl.models.algorithms.step import PretrainStep


@runtime_checkable
class HasFrozenFiles(Protocol):
    """A module that reads the files of frozen parts, such as tokenizers, before training."""

    def load_frozen(self) -> None:
        """Read them; raises CheckpointError if one is missing or does not fit."""


@MODELS.register_module()
class TokenTarget(Target):
    """Ids that a frozen tokenizer assigns to the patches (BEiT, section 2.2).

    The tokenizer is no part of the model's state: its file is read before training starts and
    named in the config. It runs outside autocast, as in the official codes, so ids do not depend
    on the precision of the training.

    Args:
        checkpoint: file of a tokenizer, from ``tools/train_dvae.py`` or ``tools/checkpoint.py
            convert-dalle``.
        vocabulary: number of its ids.
        view: view that the tokenizer sees, the same crop as the encoder's at a resolution with
            one token per patch (112 for 224 with patches of 16 and a stride of 8).
    """

    view: int

    def __init__(
        self,
        checkpoint: str = "data/tokenizers/dalle.safetensors",
        vocabulary: int = 8192,
        view: int = 1,
    ) -> None:
        super().__init__()
        self.checkpoint, self.view = checkpoint, view
        self.out_channels = vocabulary
        self._loaded: list[Tokenizer] = []  # a list hides it from state_dict and from DDP

    def load_frozen(self) -> None:
        """Read the tokenizer's file.

        Raises:
            CheckpointError: there is none, it is none, or its vocabulary is another.
        """
        if not self._loaded:
            self._loaded.append(load_tokenizer(self.checkpoint, self.out_channels))

    def tokenizer(self, device: torch.device) -> Tokenizer:
        """The frozen tokenizer on a device."""
        self.load_frozen()
        return self._loaded[0].to(device)

    def check(self, step: PretrainStep, view: int, grid: tuple[int, int]) -> None:
        """Raise ValueError unless the tokenizer's view has one token per patch and is RGB."""
        channels = step.view(self.view).pixels.shape[1]
        if channels != 3:
            raise ValueError(
                f"Tokenizers read RGB images, and these have {channels} channels: use PixelTarget, "
                f"or LoadImage.channels=3."
            )
        height, width = step.view(self.view).size
        stride = self.tokenizer(step.device).stride
        if (height // stride, width // stride) != tuple(grid):
            raise ValueError(
                f"View {self.view} of {height}x{width} pixels gives a tokenizer of stride {stride} "
                f"other tokens than the encoder's {grid[0]}x{grid[1]} patches: resize it to "
                f"{grid[0] * stride}x{grid[1] * stride}."
            )

    @torch.no_grad()
    def ids(self, step: PretrainStep) -> Tensor:
        """(B, h, w) long, of all patches of all images, computed once a step."""

        def tokenize() -> Tensor:
            pixels = step.view(self.view).pixels
            with full_precision(pixels.device):
                return self.tokenizer(pixels.device).tokenize(pixels)

        return step.once(self, "ids", tokenize)

    @torch.no_grad()
    def forward(self, step: PretrainStep, view: int, masked: MaskedPatches) -> Tensor:
        """(T,) long."""
        return self.ids(step).flatten(1)[masked.image, masked.patch]
