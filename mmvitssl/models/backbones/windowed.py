"""A plain Vision Transformer with windowed attention as a backbone of detectors (ViTDet)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from mmvitssl.models.backbones.dense import DenseFeatures
from mmvitssl.models.backbones.relative import bias_index, grid_coordinates, irpe_index
from mmvitssl.models.backbones.vit import ViT
from mmvitssl.models.backbones.windows import DecomposedPositions, Windows
from mmvitssl.models.sizes import Levels, resolve_levels
from mmvitssl.registry import MODELS

RELATIVE_KINDS = (None, "block_bias", "irpe")


@MODELS.register_module()
class WindowedFeatures(DenseFeatures):
    """Maps of a pretrained ViT whose blocks attend inside windows, but for a few (Li et al., 2022).

    The encoder keeps its names and weights; the decomposed relative positions lie beside it and
    start from zero. Class and prefix tokens are not in use and frozen: windows have no place for
    them, so the maps of the pretraining encoder, whose patches see them, are not reproduced exactly
    even where all blocks are global.

    Args:
        encoder: config of a :class:`~mmvitssl.models.backbones.vit.ViT`; its ``relative_position``
            may be None, 'block_bias' (a shared table of a checkpoint is given to every block) or
            'irpe': they act inside windows, too. With ``image_size`` of the pretraining the
            position table keeps its size and is resized in every forward, as published.
        levels: blocks to return, see :class:`DenseFeatures`; the last one, 1, for
            :class:`~mmvitssl.models.necks.pyramid.SimpleFeaturePyramid`.
        global_blocks: blocks whose attention spans the image, said as ``levels``: 4 are 2, 5, 8, 11
            of 12; 5, 11, 17, 23 of 24; 7, 15, 23, 31 of 32.
        window_size: side of a window in patches; maps are padded with zeros after the norm, and
            attention sees these.
        relative_grid: rows and columns of patches that the relative positions of global blocks are
            made for; 64 x 64 at 1024 pixels. Other sizes resize them, linearly.
        scaled_queries: whether relative positions are multiplied with queries that are scaled by
            1 / sqrt(d), as in ViTAE's detector, or with unscaled ones, as in ViTDet's.
        final_norm: whether the map of the last block goes through the encoder's final norm, as in
            ViTAE's detector.

    Raises:
        ValueError: no plain ViT, a shared bias table, or a global block that does not exist.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        levels: Levels = 1,
        global_blocks: Levels = 4,
        window_size: int = 14,
        relative_grid: tuple[int, int] = (64, 64),
        scaled_queries: bool = False,
        final_norm: bool = False,
    ) -> None:
        super().__init__(encoder, levels)
        if not isinstance(self.encoder, ViT):
            raise ValueError("WindowedFeatures needs a plain ViT; a Swin has windows of its own.")
        vit = self.vit
        if vit.relative_position not in RELATIVE_KINDS:
            raise ValueError(
                f"WindowedFeatures takes an encoder with relative_position in {RELATIVE_KINDS}, "
                f"not '{vit.relative_position}': use 'block_bias'."
            )
        blocks: tuple[int, ...] = ()
        if global_blocks:
            name = "WindowedFeatures.global_blocks"
            blocks = resolve_levels(name, global_blocks, vit.depth)
        self.global_blocks, self.window_size = frozenset(blocks), window_size
        first: Any = vit.blocks[0]
        head_dim = vit.embed_dim // first.attn.num_heads
        window = (window_size, window_size)
        self.positions = nn.ModuleList(
            DecomposedPositions(
                (relative_grid[0], relative_grid[1]) if i in self.global_blocks else window,
                head_dim,
                scaled_queries,
            )
            for i in range(self.levels[-1] + 1)
        )
        self.final_norm = final_norm
        if final_norm:
            vit.norm.requires_grad_(True)
            self.unused_state = ()
        if vit.cls_token is not None:
            vit.cls_token.requires_grad_(False)
        vit.prefix_tokens.requires_grad_(False)

    @property
    def vit(self) -> ViT:
        """The encoder."""
        assert isinstance(self.encoder, ViT)
        return self.encoder

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """As :meth:`ViT.get_layer_depth`; relative positions belong to their block."""
        if name.startswith("positions."):
            name = name.replace("positions.", "blocks.", 1)
        return super().get_layer_depth(name)

    def _relative(self, grid: tuple[int, int]) -> tuple[Tensor | None, tuple[int, int]]:
        """Relative positions of the encoder's own kind for a map or window, without prefix."""
        places = grid_coordinates(grid, self.vit.patch_embed.proj.weight.device)
        if self.vit.relative_position == "irpe":
            return irpe_index(places, 0), grid
        if self.vit.relative_position == "block_bias":
            return bias_index(places, grid, 0), grid
        return None, grid

    def encode(self, images: Tensor) -> dict[int, Tensor]:
        """(B, N, C) of the levels; class and prefix tokens do not take part."""
        grid = self.vit.grid_of((images.shape[-2], images.shape[-1]))
        windows = Windows(self.window_size, grid)
        inside = self._relative((self.window_size, self.window_size))
        across = self._relative(grid)
        tokens, maps = self.vit.embed(images), {}
        for i, positions in enumerate(self.positions):
            everywhere = i in self.global_blocks
            index, span = across if everywhere else inside
            relative = (
                partial(positions, grid=span), index, span, None if everywhere else windows
            )  # fmt: skip
            tokens = self.vit.run_block(i, tokens, relative)
            if i in self.levels:
                last = i == self.vit.depth - 1
                maps[i] = self.vit.norm(tokens) if last and self.final_norm else tokens
        return maps
