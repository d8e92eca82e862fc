"""RePre's light reconstruction decoder over multi-hierarchy features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.arguments import check_choice
from mmvitssl.models.backbones.blocks import Block
from mmvitssl.models.backbones.swin_blocks import SwinBlock
from mmvitssl.registry import MODELS


def _fusion_block(channels: int, width: int, layers: int) -> nn.Sequential:
    """``layers`` times 3x3 convolution and ReLU; the first reduces ``channels`` to ``width``."""
    modules: list[nn.Module] = []
    for i in range(layers):
        modules.append(nn.Conv2d(channels if i == 0 else width, width, 3, padding=1))
        modules.append(nn.ReLU(inplace=True))
    return nn.Sequential(*modules)


class TransformerFusion(nn.Module):
    """``layers`` transformer blocks over all positions (RePre's ablation, table 5)."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, width, 1)
        self.blocks = nn.ModuleList(Block(width, max(1, width // 32)) for _ in range(layers))

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, width, h, w)."""
        reduced = self.reduce(features)
        tokens = reduced.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.transpose(1, 2).reshape(reduced.shape)


class SwinFusion(nn.Module):
    """``layers`` blocks of a Swin Transformer, every other one with shifted windows.

    RePre's transformer decoder on Swin, of the same basic layer as the backbone (table 5).
    """

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, width, 1)
        self.blocks = nn.ModuleList(
            SwinBlock(width, max(1, width // 32), window_size=7, shifted=bool(i % 2))
            for i in range(layers)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, width, h, w)."""
        cells = self.reduce(features).permute(0, 2, 3, 1)
        for block in self.blocks:
            cells = block(cells)
        return cells.permute(0, 3, 1, 2)


FUSIONS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "convolution": _fusion_block,
    "transformer": TransformerFusion,
    "swin": SwinFusion,
}


@MODELS.register_module()
class MultiHierarchyFusion(nn.Module):
    """Fuse features from deep to shallow and predict all pixels (RePre, section 3.3).

    The deepest map is merged with the next shallower one by concatenation and a block of 3x3
    convolutions, K - 1 times for K levels. A 1x1 convolution then predicts the pixels of the patch
    at each position. Deeper maps of hierarchical encoders are upsampled bilinearly first.

    The paper states only that the concatenation has 2C channels. Read literally (``width=None``:
    2C to C, no lateral convolution) the decoder costs far more than the paper's 4 %; by default a
    1x1 convolution brings each level to ``width`` channels first (docs/methods/repre.md).

    Args:
        in_channels: channels of the levels, from shallow to deep; one number for all.
        levels: number of levels K; 1 is the paper's ablation "Single" (table 4), the last layer
            alone in the same convolutional decoder.
        width: channels inside the decoder; None: the literal reading, those of the shallower level.
        layers: convolutions, or transformer blocks, in each fusion block (the paper's best is 2).
        fusion: 'convolution', or the paper's ablation with layers of the backbone (table 5, worse
            than no branch): 'transformer' for a ViT, 'swin' for a Swin Transformer.
        single_blocks: fusion blocks of a single level, by default as many as four levels have, so
            that the ablation compares levels and not decoders; K levels have K - 1.
        patch_size: pixels that a position of the shallowest level stands for, per side.
        out_channels: channels of the image; the encoder's ``in_channels``.

    Raises:
        ValueError: the numbers do not fit each other.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        levels: int = 4,
        width: int | None = 128,
        layers: int = 2,
        patch_size: int = 16,
        out_channels: int = 3,
        fusion: str = "convolution",
        single_blocks: int = 3,
    ) -> None:
        super().__init__()
        channels = [in_channels] * levels if isinstance(in_channels, int) else list(in_channels)
        if min(levels, layers, single_blocks) < 1 or len(channels) != levels:
            raise ValueError(
                f"MultiHierarchyFusion needs levels >= 1, layers >= 1, single_blocks >= 1 and one "
                f"entry of in_channels per level; got levels={levels}, layers={layers}, "
                f"single_blocks={single_blocks}, in_channels={channels}."
            )
        check_choice("MultiHierarchyFusion.fusion", fusion, FUSIONS)
        self.in_channels, self.out_channels = tuple(channels), out_channels
        self.patch_size = patch_size
        inner = channels if width is None else [width] * levels
        self.lateral = nn.ModuleList(
            nn.Identity() if width is None else nn.Conv2d(c, width, 1) for c in channels
        )
        # fusion[i] merges level i + 1 into level i; a single level has nothing to merge with
        blocks = [(inner[i] + inner[i + 1], inner[i]) for i in range(levels - 1)]
        blocks = blocks or [(inner[0], inner[0])] * single_blocks
        self.fusion = nn.ModuleList(
            FUSIONS[fusion](inputs, outputs, layers) for inputs, outputs in blocks
        )
        self.to_pixels = nn.Conv2d(inner[0], out_channels * patch_size**2, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Decode.

        Args:
            features: K maps (B, C_i, h_i, w_i) from shallow to deep.

        Returns:
            (B, out_channels, h_0 * patch_size, w_0 * patch_size), without output activation.

        Raises:
            ValueError: another number of maps than ``levels``.
        """
        if len(features) != len(self.lateral):
            raise ValueError(
                f"MultiHierarchyFusion was built for {len(self.lateral)} levels and got "
                f"{len(features)}: make levels agree with those of its task."
            )
        maps = [lateral(level) for lateral, level in zip(self.lateral, features, strict=True)]
        fused = maps[-1]
        if len(maps) == 1:
            for block in self.fusion:
                fused = block(fused)
        for i in range(len(maps) - 2, -1, -1):
            if fused.shape[-2:] != maps[i].shape[-2:]:
                fused = F.interpolate(fused, size=maps[i].shape[-2:], mode="bilinear")
            fused = self.fusion[i](torch.cat([fused, maps[i]], dim=1))
        return F.pixel_shuffle(self.to_pixels(fused), self.patch_size)
