"""Histograms of oriented gradients as the target (MaskFeat)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mmvitssl.models.targets.base import Target
from mmvitssl.registry import MODELS
from mmvitssl.structures import MaskedPatches

if TYPE_CHECKING:
    from mmvitssl.models.algorithms.step import PretrainStep


@MODELS.register_module()
class HOGTarget(Target):
    """Histograms of oriented gradients of the masked patches (MaskFeat, section 3.2).

    Gradients of each channel by Sobel filters; each cell's histogram of unsigned orientations,
    weighted by the gradient's length, is L2-normalised by itself.

    Args:
        bins: orientations over 180 degrees.
        cell: side of a cell in pixels, which divides the patch; None: half of the patch, 8 of 16
            as published.
        window: side of the Gaussian that weighs pixels around the centre of each patch of that
            many pixels, with a deviation of half of it; None: the patch; 0: all weigh the same.
        patch_size: side of a patch in pixels; the encoder's.
        channels: of the images; the encoder's ``in_channels``.

    Raises:
        ValueError: an option out of range.
    """

    sobel: Tensor

    def __init__(
        self,
        bins: int = 9,
        cell: int | None = None,
        window: int | None = None,
        patch_size: int = 16,
        channels: int = 3,
    ) -> None:
        super().__init__()
        cell = max(patch_size // 2, 1) if cell is None else cell
        window = patch_size if window is None else window
        if bins < 2 or cell < 1 or window < 0:
            raise ValueError(
                f"HOGTarget needs bins >= 2, cell >= 1 and window >= 0; got {bins}, {cell}, "
                f"{window}."
            )
        if patch_size % cell or (window and patch_size % window):
            raise ValueError(
                f"HOGTarget.cell={cell} and window={window} must divide the encoder's patches of "
                f"{patch_size}."
            )
        self.bins, self.cell, self.window, self.patch_size = bins, cell, window, patch_size
        self.out_channels = channels * bins * (patch_size // cell) ** 2
        across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
        kernels = torch.stack([across, across.t()])[:, None]
        self.register_buffer("sobel", kernels, persistent=False)

    def _weights(self, size: tuple[int, int]) -> Tensor:
        """(H, W) of pixels."""
        places = torch.arange(self.window, device=self.sobel.device) - (self.window - 1) / 2
        line = (-0.5 * (places / (self.window / 2)) ** 2).exp()
        line = line / line.sum()
        rows, columns = (line.repeat(side // self.window) for side in size)
        return rows[:, None] * columns

    @torch.no_grad()
    def histograms(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, bins, H / cell, W / cell), each cell of unit length."""
        batch, channels, *size = images.shape
        padded = F.pad(images.float().flatten(0, 1)[:, None], (1, 1, 1, 1), mode="reflect")
        across, down = F.conv2d(padded, self.sobel).unbind(dim=1)
        length = torch.hypot(across, down)
        if self.window:
            length = length * self._weights((size[0], size[1]))
        turn = torch.atan2(across, down) / math.pi * self.bins
        index = turn.floor().long() % self.bins
        votes = length.new_zeros(len(length), self.bins, *size)
        votes.scatter_(1, index[:, None], length[:, None])
        sums = F.avg_pool2d(votes, self.cell) * self.cell**2
        return F.normalize(sums, dim=1).unflatten(0, (batch, channels))

    @torch.no_grad()
    def forward(self, step: PretrainStep, view: int, masked: MaskedPatches) -> Tensor:
        """(T, C * bins * cells) float32."""
        cells = step.once(self, f"hog {view}", lambda: self.histograms(step.view(view).images))
        side = self.patch_size // self.cell
        batch, channels, bins, height, width = cells.shape
        patches = cells.reshape(batch, channels, bins, height // side, side, width // side, side)
        patches = patches.permute(0, 3, 5, 1, 2, 4, 6).flatten(3).flatten(1, 2)
        return patches[masked.image, masked.patch]
