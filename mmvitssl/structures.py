"""The types that encoder, tasks and pipelines exchange.

Shapes use: B images, R rows (images, or images times windows), K tokens in a row, C channels,
N patches of an image, (h, w) the patch grid, P the patch size.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class View:
    """One augmented view of a batch of images.

    Attributes:
        pixels: (B, C, H, W) float in [0, 1], the view before normalisation.
        images: (B, C, H, W) float, ``pixels`` normalised: what the encoder sees.
        mean: (C,) what was subtracted from the channels; None: 0.
        std: (C,) what they were divided by; None: 1.
        corrupted: (B, C, H, W) ``images`` with the patches that tasks altered; None: none.
        unplaced: (B, N) bool, patches whose position the online encoder is not told; None: none.
    """

    pixels: Tensor
    images: Tensor
    mean: Tensor | None = None
    std: Tensor | None = None
    corrupted: Tensor | None = None
    unplaced: Tensor | None = None

    @property
    def altered(self) -> bool:
        """Whether tasks altered patches, or hide where they are."""
        return self.corrupted is not None or self.unplaced is not None

    @property
    def seen(self) -> Tensor:
        """(B, C, H, W) what the online encoder sees."""
        return self.images if self.corrupted is None else self.corrupted

    def to_pixels(self, values: Tensor) -> Tensor:
        """Normalised values (..., C), channels last, as pixels in [0, 1] (not clamped)."""
        values = values if self.std is None else values * self.std
        return values if self.mean is None else values + self.mean

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[-2], self.images.shape[-1]

    @property
    def batch_size(self) -> int:
        return self.images.shape[0]


@dataclass(frozen=True, eq=False)
class TokenPlan:
    """Which patches of which image the encoder sees. Maskers make plans; the encoder obeys them.

    Attributes:
        image_index: (R,) long, the image of each row; None: one row per image.
        tokens: (R, K) long, the patch indices (raster order of the grid) that enter, in order;
            None: all patches in raster order.
        masked: (R, K) bool, which of the entering tokens are replaced by the mask token.
        mask_at: the block before which masked tokens join; 0 is at the input. When positive, the
            blocks before it see only the unmasked tokens, of which every row must have as many.
        window: (height, width) in patches when every row is one raster window, whose relative
            positions are then the same in all rows.
        num_visible: unmasked tokens of every row; needed with ``mask_at`` > 0, where it fixes the
            shapes without asking the device.
        dropped: (R, M) long, the patches of the row's image (or window) that are masked by not
            entering.
        blocks: number of equal parts of ``dropped`` that are predicted apart from each other
            (I-JEPA's target blocks, which may overlap).
    """

    image_index: Tensor | None = None
    tokens: Tensor | None = None
    masked: Tensor | None = None
    mask_at: int = 0
    window: tuple[int, int] | None = None
    num_visible: int | None = None
    dropped: Tensor | None = None
    blocks: int = 1

    def __post_init__(self) -> None:
        if self.image_index is not None and self.tokens is None:
            raise ValueError("TokenPlan.image_index needs TokenPlan.tokens: one row per window.")
        if self.masked is not None:
            if self.masked.dtype != torch.bool:
                raise TypeError(f"TokenPlan.masked must be bool, not {self.masked.dtype}.")
            if self.tokens is not None and self.masked.shape != self.tokens.shape:
                raise ValueError(
                    f"TokenPlan.masked {tuple(self.masked.shape)} and TokenPlan.tokens "
                    f"{tuple(self.tokens.shape)} must have the same shape."
                )
        if self.blocks < 1 or (self.blocks > 1 and self.dropped is None):
            raise ValueError(f"TokenPlan.blocks={self.blocks} needs TokenPlan.dropped.")
        late = self.masked is not None and self.num_visible is not None
        if self.mask_at < 0 or (self.mask_at > 0 and not late):
            raise ValueError(
                "TokenPlan.mask_at cannot be negative, and > 0 needs masked and num_visible."
            )

    def to(self, device: torch.device) -> TokenPlan:
        """The plan with its tensors on ``device``."""
        moved = {
            name: None if tensor is None else tensor.to(device, non_blocking=True)
            for name, tensor in (
                ("image_index", self.image_index),
                ("tokens", self.tokens),
                ("masked", self.masked),
                ("dropped", self.dropped),
            )
        }
        return replace(self, **moved)  # type: ignore[arg-type]

    def split(self, images: int, parts: int) -> list[TokenPlan]:
        """The plan of ``parts`` x ``images`` images as one plan per part, in order."""
        if parts == 1:
            return [self]
        tensors = {"tokens": self.tokens, "masked": self.masked, "dropped": self.dropped}
        rows = next(len(tensor) for tensor in tensors.values() if tensor is not None)
        image = torch.arange(rows) if self.image_index is None else self.image_index
        plans = []
        for part in range(parts):
            chosen = (image // images == part).nonzero()[:, 0]
            changes = {k: None if t is None else t[chosen] for k, t in tensors.items()}
            if self.image_index is not None:
                changes["image_index"] = image[chosen] - part * images
            plans.append(replace(self, **changes))  # type: ignore[arg-type]
        return plans

    def visible_slots(self) -> Tensor:
        """(R, num_visible) long: where in the row the unmasked tokens stand, ascending."""
        assert self.masked is not None and self.num_visible is not None
        return self.masked.byte().argsort(dim=1, stable=True)[:, : self.num_visible]

    def validate(self, batch_size: int, grid: tuple[int, int]) -> None:
        """Check indices against a batch and a grid; synchronises, so for tests and debugging.

        Raises:
            ValueError: an index is out of range or a token stands twice in a row.
        """
        patches = grid[0] * grid[1]
        if self.tokens is not None:
            if self.tokens.min() < 0 or self.tokens.max() >= patches:
                raise ValueError(f"TokenPlan.tokens must lie in 0..{patches - 1} for grid {grid}.")
            ordered = self.tokens.sort(dim=1).values
            if bool((ordered[:, 1:] == ordered[:, :-1]).any()):
                raise ValueError("TokenPlan.tokens names a patch twice in one row.")
        if self.masked is not None and self.num_visible is not None:
            visible = (~self.masked).sum(dim=1)
            if bool((visible != self.num_visible).any()):
                raise ValueError(
                    f"TokenPlan.num_visible={self.num_visible}, but rows leave "
                    f"{visible.tolist()} tokens unmasked."
                )
        if self.image_index is not None and (
            self.image_index.min() < 0 or self.image_index.max() >= batch_size
        ):
            raise ValueError(f"TokenPlan.image_index must lie in 0..{batch_size - 1}.")


@dataclass(frozen=True, eq=False)
class MaskedPatches:
    """The masked patches of a plan, one entry each, rows and blocks in order.

    Attributes:
        image: (T,) long, index of the image.
        patch: (T,) long, index of the patch in the grid.
        slot: (T,) long, index into the (R * K) tokens of the rows; None where masked patches did
            not enter.
        rows: R, the rows of the plan.
    """

    image: Tensor
    patch: Tensor
    slot: Tensor | None
    rows: int

    @classmethod
    def every(cls, images: int, patches: int) -> MaskedPatches:
        """All patches of a pass without a plan."""
        number = torch.arange(images * patches)
        return cls(number // patches, number % patches, number, images)

    def image_weights(self, images: int) -> Tensor:
        """(T,) weights of a mean over the patches of each image, then over all ``images``.

        An image without masked patches counts as 0 (iBOT, DINOv2).
        """
        # bincount would ask the device for the largest index
        number = torch.zeros(images, device=self.image.device)
        number = number.index_add_(0, self.image, torch.ones_like(self.image, dtype=number.dtype))
        return 1.0 / (number[self.image] * images)

    @classmethod
    def of(cls, plan: TokenPlan) -> MaskedPatches:
        """List them; asks the device how many there are, so plans should be on the CPU still.

        Raises:
            ValueError: the plan masks nothing.
        """
        if plan.dropped is not None:
            rows, number = plan.dropped.shape
            images = torch.arange(rows) if plan.image_index is None else plan.image_index
            return cls(images.repeat_interleave(number), plan.dropped.flatten(), None, rows)
        if plan.masked is None:
            raise ValueError("This plan has neither masked nor dropped patches.")
        row, column = plan.masked.nonzero(as_tuple=True)
        image = row if plan.image_index is None else plan.image_index[row]
        patch = column if plan.tokens is None else plan.tokens[row, column]
        rows, length = plan.masked.shape
        return cls(image, patch, row * length + column, rows)

    def to(self, device: torch.device) -> MaskedPatches:
        """The entries on ``device``."""
        slot = None if self.slot is None else self.slot.to(device, non_blocking=True)
        image, patch = (t.to(device, non_blocking=True) for t in (self.image, self.patch))
        return MaskedPatches(image, patch, slot, self.rows)


@dataclass(frozen=True, eq=False)
class Encoded:
    """What an encoder returns, and the only thing that tasks read of it.

    Attributes:
        cls: (R, C) class token after the final norm, or the pooled feature where there is none.
        prefix: (R, C) of each named extra token, after the final norm.
        patches: (R, K, C) patch tokens after the final norm.
        hierarchy: patches of the requested levels, by level; ViT: (R, K, C) block outputs;
            hierarchical encoders: (R, C_i, h_i, w_i) before downsampling. They are raw unless
            ``norm_levels`` was asked for.
        grid: (h, w) of the whole image in patches.
        plan: the plan that was obeyed; None: all patches, one row per image.
        tokens: (R, L, C) what ``cls``, ``prefix`` and ``patches`` were cut out of; None where
            there is none.
        level_cls: (R, C_i) class token of each requested level, or the mean of its map.
        attention: (R, heads, L, L) of the requested blocks, by block; rows sum to 1. The class
            token is the first, patches are the last.
    """

    cls: Tensor
    prefix: dict[str, Tensor]
    patches: Tensor
    hierarchy: dict[int, Tensor]
    grid: tuple[int, int]
    plan: TokenPlan | None = None
    tokens: Tensor | None = None
    level_cls: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)

    def rows(self, start: int, stop: int) -> Encoded:
        """The same features for rows ``start`` to ``stop`` only (views, no copies).

        Only for passes without a plan, where row = image.
        """
        if self.plan is not None:
            raise ValueError("Rows of a planned pass belong to its plan and cannot be cut out.")
        return Encoded(
            cls=self.cls[start:stop],
            prefix={name: token[start:stop] for name, token in self.prefix.items()},
            patches=self.patches[start:stop],
            hierarchy={depth: level[start:stop] for depth, level in self.hierarchy.items()},
            grid=self.grid,
            level_cls={depth: token[start:stop] for depth, token in self.level_cls.items()},
            attention={block: maps[start:stop] for block, maps in self.attention.items()},
        )
