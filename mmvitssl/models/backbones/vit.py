"""The plain Vision Transformer that every method shares (Dosovitskiy et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from timm.layers import PatchEmbed, to_2tuple
from torch import Tensor, nn

from mmvitssl.arguments import check_choice, check_drop_path
from mmvitssl.models.backbones.adapt import adapt_channels, adapt_positions, adapt_tables, add_new
from mmvitssl.models.backbones.architectures import architecture, input_channels
from mmvitssl.models.backbones.blocks import Block, run
from mmvitssl.models.backbones.contract import (
    BackboneModule,
    BackboneSpec,
    Pass,
    Size,
    check_levels,
    pop_norm,
)
from mmvitssl.models.backbones.initialisation import INITIALISERS
from mmvitssl.models.backbones.lora import fit_updates, train_only_updates
from mmvitssl.models.backbones.patch_tokens import PatchTokens, join_masked, leave_masked
from mmvitssl.models.backbones.position import POSITION_KINDS, check_interpolation
from mmvitssl.models.backbones.relative import (
    RELATIVE_KINDS,
    RelativeBias,
    bias_index,
    irpe_index,
    places_of,
    rotary_table,
    table_span,
)
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded, TokenPlan

# beginnings of the names of what stands before the first block
EMBEDDING = ("patch_embed.", "cls_token", "pos_embed", "prefix_tokens.", "mask_token", "unknown_")
# what a block is told of relative positions: (bias, index, grid of the index)
Relative = tuple[Tensor | None, Tensor | None, Size | None]


@MODELS.register_module()
class ViT(PatchTokens, BackboneModule):
    """Vision Transformer on timm layers, with timm's parameter names.

    The encoder knows nothing of pretraining methods: it obeys a
    :class:`~mmvitssl.structures.TokenPlan` and returns :class:`~mmvitssl.structures.Encoded`.

    Args:
        arch: 'tiny', 'small', 'base', 'large', 'huge', or a dict with ``embed_dim``, ``depth`` and
            ``num_heads`` (``base='small'`` takes the rest from a named one: MoCo v3 and CAE use
            ViT-S with 12 heads).
        image_size: side, or (height, width), of the position table's images, in pixels; other
            sizes that the patch divides resize the table in the forward.
        patch_size: side of a patch in pixels.
        position: 'learned', 'sincos_row_first' (MoCo v3, CAE), 'sincos_column_first' (MAE) or
            'none'. Sine-cosine tables are not trained.
        relative_position: None, 'shared_bias' (BEiT, SimMIM pretraining: one bias table for all
            blocks), 'block_bias' (their fine-tuning: one table per block), 'irpe' (LoMaR:
            contextual product iRPE on keys) or 'rope' (DINOv3: rotary positions, no table).
        relative_grid: rows and columns of the bias tables, or the side of a square; by default
            the image's. A smaller one serves windows (LoMaR in BEiT: 7).
        new_relative: whether the bias tables may be missing in a checkpoint and then start from
            zero (CAE's fine-tuning adds them).
        prefix_tokens: names of extra learned tokens between the class token and the patches.
        unknown_position: whether there is a learned vector for patches whose position a task
            hides; absolute positions only.
        class_token: whether there is a class token; without one (I-JEPA) ``Encoded.cls`` is the
            mean of the patches, and the class row of the position table is not read.
        mask_token: whether there is a learned token for the masked patches of a plan.
        mlp_ratio: hidden width of the MLP over ``embed_dim``.
        mlp: 'gelu', or 'swiglu' (DINOv2's ViT-g), whose hidden width is
            ``(int(embed_dim * mlp_ratio * 2 / 3) + 7) // 8 * 8``.
        interpolation: of a position table that is resized: 'bicubic', or 'bilinear' (SETR).
        interpolate_offset: added to the side of the grid that a position table is resized to,
            whose scale is then not exact: DINO's official code has 0.1, for its small crops.
        interpolate_antialias: whether a position table is resized with antialiasing (DINOv2 with
            registers).
        drop_path: stochastic depth rate of the last block, growing linearly from 0.
        uniform_drop_path: whether all blocks have the rate ``drop_path`` (DINOv2).
        layer_scale: initial value of the residual scales, or None for no scales. Those that start
            from 1, and so change nothing, may be missing in a checkpoint (MAE in segmentation).
        qkv_bias: biases of attention: 'qkv', 'qv' (BEiT and CAE, none for keys) or 'none'.
        norm_eps: epsilon of all layer norms.
        initialisation: 'timm' (cut normal .02), 'deit' (the class token too: DINO, MoBY), 'xavier'
            (MAE, LoMaR), 'mocov3', 'beit', 'cae', 'ibot', 'dinov2'.
        freeze_patch_embed: keep the random patch projection fixed (MoCo v3, section 4).
        gradient_checkpointing: recompute blocks in the backward pass to save memory.
        lora_rank: rank of low-rank updates of queries, keys and values in every block (Hu et al.,
            2021), which start from zero. Then only they and the tokens of pretraining tasks are
            trained. Checkpoints with and without them load into encoders without and with them.
        lora_alpha: the updates are multiplied by ``lora_alpha / lora_rank``; None: by 1.
        in_channels: channels of the images. Checkpoints for three adapt to others: see
            :func:`~mmvitssl.models.backbones.adapt.adapt_channels`.
        in_chans: timm's name for ``in_channels``.
    """

    # tensors that serve pretraining alone: a model without them may leave them in the file
    optional_state: tuple[str, ...] = ("mask_token", "prefix_tokens.", "unknown_position")

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "base",
        image_size: int | Size = 224,
        patch_size: int = 16,
        position: str = "learned",
        relative_position: str | None = None,
        relative_grid: int | Size | None = None,
        new_relative: bool = False,
        prefix_tokens: Sequence[str] = (),
        unknown_position: bool = False,
        class_token: bool = True,
        mask_token: bool = False,
        interpolation: str = "bicubic",
        interpolate_offset: float = 0.0,
        interpolate_antialias: bool = False,
        mlp_ratio: float = 4.0,
        mlp: str = "gelu",
        drop_path: float = 0.0,
        uniform_drop_path: bool = False,
        layer_scale: float | None = None,
        qkv_bias: str = "qkv",
        norm_eps: float = 1e-6,
        initialisation: str = "timm",
        freeze_patch_embed: bool = False,
        gradient_checkpointing: bool = False,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        in_channels: int = 3,
        in_chans: int | None = None,
    ) -> None:
        super().__init__()
        settings = architecture(arch)
        check_choice("ViT.position", position, POSITION_KINDS)
        check_drop_path("ViT.drop_path", drop_path)
        check_choice("ViT.relative_position", relative_position, (None, *RELATIVE_KINDS))
        check_choice("ViT.initialisation", initialisation, INITIALISERS)
        self.embed_dim: int = settings["embed_dim"]
        self.depth: int = settings["depth"]
        self.num_heads: int = settings["num_heads"]
        self.patch_size, self.gradient_checkpointing = patch_size, gradient_checkpointing
        self.in_channels = input_channels("ViT", in_channels, in_chans)
        self.position, self.interpolation = position, check_interpolation(interpolation)
        self.interpolate_offset = interpolate_offset
        self.interpolate_antialias = interpolate_antialias
        self.image_size: Size = to_2tuple(image_size)
        self.grid = self.grid_of(self.image_size)
        self.relative_position, self.new_relative = relative_position, new_relative
        self.relative_grid: Size = to_2tuple(relative_grid or self.grid)

        self.patch_embed = PatchEmbed(
            None, patch_size, self.in_channels, self.embed_dim, strict_img_size=False
        )
        self.cls_token = self.token() if class_token else None
        self.prefix_tokens = nn.ParameterDict({name: self.token() for name in prefix_tokens})
        self.mask_token = self.token() if mask_token else None
        self.pos_embed = self.position_table()
        if unknown_position and (position == "none" or relative_position is not None):
            raise ValueError(
                "ViT.unknown_position needs absolute positions and no relative ones, which would "
                "tell where a patch is."
            )
        self.unknown_position = self.token() if unknown_position else None
        shared = relative_position == "shared_bias"
        self.rel_pos_bias = RelativeBias(self.relative_grid, self.num_heads) if shared else None
        self.blocks = nn.ModuleList(
            Block(
                self.embed_dim,
                settings["num_heads"],
                mlp_ratio=mlp_ratio,
                bias=qkv_bias,
                relative=relative_position,
                grid=self.relative_grid,
                layer_scale=layer_scale,
                drop_path=drop_path * (1 if uniform_drop_path else i / max(self.depth - 1, 1)),
                norm_eps=norm_eps,
                mlp=mlp,
                lora=None if lora_rank is None else (lora_rank, lora_alpha or lora_rank),
            )
            for i in range(self.depth)
        )
        self.norm: nn.Module = nn.LayerNorm(self.embed_dim, eps=norm_eps)
        INITIALISERS[initialisation](self)
        if freeze_patch_embed:
            self.patch_embed.requires_grad_(False)
        if lora_rank is not None:
            train_only_updates(self, self.optional_state)
        self.spec = BackboneSpec(
            embed_dim=self.embed_dim,
            depth=self.depth,
            patch_size=self.patch_size,
            image_size=self.image_size,
            level_channels=(self.embed_dim,) * self.depth,
            level_strides=(self.patch_size,) * self.depth,
            in_channels=self.in_channels,
            num_heads=(self.num_heads,),
            prefix_tokens=tuple(self.prefix_tokens.keys()),
            has_class_token=self.cls_token is not None,
            can_mask=True,
            has_mask_token=self.mask_token is not None,
            can_hide_positions=self.unknown_position is not None,
            has_positions=self.pos_embed is not None,
            has_attention=True,
        )

    def adapt_state(
        self,
        state: dict[str, Tensor],
        grid: Size | None = None,
        relative_grid: Size | None = None,
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Fit a state dict of this architecture to this model's grid, relative positions, channels.

        ``grid`` and ``relative_grid`` are rows and columns of its position and bias tables, where
        the checkpoint says them. Returns the adapted copy, and one line for each change.

        Raises:
            ValueError: nothing tells the grid of a table.
        """
        how = self.interpolation, self.interpolate_antialias, self.interpolate_offset
        state, merged = fit_updates(state, self.state_dict())
        state, notes = adapt_positions(state, self.pos_embed, self.grid, *how, grid)
        state, more = adapt_tables(
            state, self.relative_position, self.relative_grid, self.depth, relative_grid
        )
        state, fresh = add_new(state, self.state_dict(), self.new_relative)
        state, channels = adapt_channels(state, self.in_channels)
        return state, merged + notes + more + fresh + channels

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """Layer of a parameter for layer-wise learning-rate decay, and the number of layers.

        0 is the embedding (patches, tokens, positions), block i is i + 1, the rest depth + 1; there
        are depth + 2. The name is relative to this module.
        """
        if name.startswith("blocks."):
            return int(name.split(".")[1]) + 1, self.depth + 2
        return (0 if name.startswith(EMBEDDING) else self.depth + 1), self.depth + 2

    def _relative(self, plan: TokenPlan | None, grid: Size, late: bool) -> Relative:
        """Relative positions of the tokens of a plan; ``late``: of its unmasked tokens only."""
        if self.relative_position is None:
            return None, None, None
        device = self.patch_embed.proj.weight.device  # the norm may have been taken out
        places, prefix = places_of(plan, grid, device, late), self.num_prefix_tokens
        if self.relative_position == "irpe":
            return None, irpe_index(places, prefix), None
        if self.relative_position == "rope":
            channels = self.embed_dim // self.num_heads
            return None, rotary_table(places, grid, channels, prefix), None
        span = table_span(None if plan is None else plan.window, grid, self.relative_grid)
        index = bias_index(places, span, prefix)
        if self.rel_pos_bias is None:
            return None, index, span
        return self.rel_pos_bias(index, self.relative_grid, span), None, None

    def run_block(self, index: int, tokens: Tensor, relative: tuple[Any, ...]) -> Tensor:
        """One block; ``relative``: what :meth:`Block.forward` takes after the tokens."""
        recompute = self.gradient_checkpointing and self.training
        return run(self.blocks[index], recompute, tokens, *relative)

    def _run_blocks(
        self,
        tokens: Tensor,
        plan: TokenPlan | None,
        grid: Size,
        levels: Sequence[int],
        stop: int,
        attention: Sequence[int] = (),
    ) -> tuple[Tensor, dict[int, Tensor], dict[int, Tensor]]:
        """The last tokens, all tokens of each level, and the attention maps."""
        waiting = None
        if plan is not None and plan.mask_at:
            tokens, waiting = leave_masked(tokens, plan, self.num_prefix_tokens)
        relative = self._relative(plan, grid, late=waiting is not None)
        outputs, maps = {}, {}
        for index in range(stop):
            if waiting is not None and plan is not None and index == plan.mask_at:
                tokens = join_masked(tokens, waiting, plan, self.num_prefix_tokens)
                relative = self._relative(plan, grid, late=False)
            if index in attention:
                block: Any = self.blocks[index]
                maps[index] = block.attention(tokens, *relative)
            tokens = self.run_block(index, tokens, relative)
            if index in levels:
                outputs[index] = tokens
        return tokens, outputs, maps

    def forward(
        self,
        images: Tensor,
        plan: TokenPlan | None = None,
        levels: Sequence[int] = (),
        unplaced: Tensor | None = None,
        *,
        attention: Sequence[int] = (),
        norm_levels: bool = False,
    ) -> Encoded:
        """Encode images.

        Args:
            images: (B, in_channels, H, W), normalised; the patch must divide H and W.
            plan: which patches of which image enter; None: all of all.
            levels: zero-based blocks whose class token and patches are wanted.
            unplaced: (B, N) bool, patches that get one learned vector in place of their position.
            attention: zero-based blocks whose attention maps are wanted.
            norm_levels: whether the final norm is applied to the levels; else they are raw.

        Raises:
            ValueError: a size that the patch does not divide, another number of channels, a level
                that does not exist, or a plan with masked tokens for an encoder without a mask
                token.
        """
        first = 0 if plan is None else plan.mask_at
        levels = check_levels(self, levels, first)
        attention = check_levels(self, attention, first)
        grid = self.grid_of_images(images)
        tokens = self.with_prefix(self.embed(images, plan, unplaced))
        tokens, outputs, maps = self._run_blocks(tokens, plan, grid, levels, self.depth, attention)
        if norm_levels:
            outputs = {level: self.norm(output) for level, output in outputs.items()}
        return self._encoded(tokens, outputs, grid, plan, maps)

    def can_pack(self, plan: TokenPlan | None) -> bool:
        """Whether a pass may share one sequence with others: see :meth:`forward_packed`."""
        late = plan is not None and plan.mask_at > 0
        # sharded blocks are of classes of their own, and a compiled encoder has a call of its own
        plain = all(type(block) is Block for block in self.blocks)
        plain = plain and getattr(self, "_compiled_call_impl", None) is None
        free = self.relative_position is None and not self.gradient_checkpointing
        return plain and free and not late

    def forward_packed(self, passes: Sequence[Pass]) -> list[Encoded]:
        """Several passes over images of any sizes as one sequence, equal to one by one.

        Args:
            passes: (images, plan, levels) each, see :meth:`forward`.
        """
        for _, plan, levels in passes:
            check_levels(self, levels, 0 if plan is None else plan.mask_at)
        parts = [self.with_prefix(self.embed(images, plan)) for images, plan, _ in passes]
        outputs: list[dict[int, Tensor]] = [{} for _ in passes]
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            parts = block.packed(parts)
            for part, output, (_, _, levels) in zip(parts, outputs, passes, strict=True):
                output.update({index: part} if index in levels else {})
        return [
            self._encoded(part, output, self.grid_of_images(images), plan, {})
            for part, output, (images, plan, _) in zip(parts, outputs, passes, strict=True)
        ]

    def _encoded(
        self,
        tokens: Tensor,
        outputs: dict[int, Tensor],
        grid: Size,
        plan: TokenPlan | None,
        maps: dict[int, Tensor],
    ) -> Encoded:
        """What :meth:`forward` returns, from the last block's and the levels' tokens."""
        tokens, prefix = self.norm(tokens), self.num_prefix_tokens
        first, names = prefix - len(self.prefix_tokens), self.prefix_tokens.keys()
        return Encoded(
            cls=self.pooled(tokens),
            prefix={name: tokens[:, first + i] for i, name in enumerate(names)},
            patches=tokens[:, prefix:],
            hierarchy={level: output[:, prefix:] for level, output in outputs.items()},
            grid=grid,
            plan=plan,
            tokens=tokens,
            level_cls={level: self.pooled(output) for level, output in outputs.items()},
            attention=maps,
        )

    def forward_levels(self, images: Tensor, levels: Sequence[int]) -> dict[int, Tensor]:
        """Raw patch outputs (B, N, C) of some blocks only; later blocks and the norm do not run."""
        levels = check_levels(self, levels)
        grid = self.grid_of_images(images)
        tokens = self.with_prefix(self.embed(images))
        outputs = self._run_blocks(tokens, None, grid, levels, max(levels) + 1)[1]
        prefix = self.num_prefix_tokens
        return {level: output[:, prefix:] for level, output in outputs.items()}

    def unused_after(self, level: int) -> tuple[str, ...]:
        """The final norm, later blocks, and tokens that only pretraining uses."""
        later = tuple(f"blocks.{index}." for index in range(level + 1, self.depth))
        return ("norm.", "mask_token", "unknown_position", *later)

    def take_norm(self) -> nn.LayerNorm:
        """Replace the final norm by an identity, and return it; files may have it still."""
        return pop_norm(self)

    def units(self) -> Sequence[nn.Module]:
        """The blocks."""
        return tuple(self.blocks)
