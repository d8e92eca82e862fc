"""timm's Vision Transformers, which DeiT, MAE's and LoMaR's encoders share, and DINOv2's."""

from __future__ import annotations

from torch import Tensor

from mmvitssl.checkpoint.formats.base import (
    CLASSIFIER,
    OWN_TOKENS,
    PLAIN_BLOCK,
    Format,
    Rename,
    plain_encoder,
)
from mmvitssl.checkpoint.formats.gated import flat_blocks, gate_names, plain_names
from mmvitssl.checkpoint.formats.tokens import (
    Grid,
    State,
    add_class_row,
    drop_class_row,
    join_tokens,
    split_tokens,
)

PARTS = ("cls_token", "pos_embed", "patch_embed.proj.*", "norm.*", "prefix_tokens.*")
OTHERS = (
    r".*gamma_1$",
    r".*relative_position_bias_table$",
    r".*lookup_table_weight$",
    r".*q_bias$",
    r"encoder\.",
    OWN_TOKENS,
)

TIMM = Format(
    name="timm",
    words="timm and DeiT Vision Transformers, MAE's encoder alone",
    wrapper=None,
    signature=(r"cls_token$", r"patch_embed\.proj\.weight$", r"blocks\.0\.attn\.qkv\.weight$"),
    absent=(*OTHERS, r"mask_token$"),
    renames=(
        *plain_encoder(parts=PARTS, inside=(*PLAIN_BLOCK, "ls1.gamma", "ls2.gamma")),
        *CLASSIFIER,
        Rename("head_dist.*", "head_dist.*"),
    ),
    before=split_tokens,
    after=join_tokens,
)


def one_token(key: str, tensor: Tensor) -> Tensor:
    """DINOv2's mask token is (1, C), ours (1, 1, C)."""
    return tensor.reshape(1, 1, -1) if key == "encoder.mask_token" else tensor


def flat_token(key: str, tensor: Tensor) -> Tensor:
    """The inverse of :func:`one_token`."""
    return tensor.reshape(1, -1) if key == "encoder.mask_token" else tensor


def _from_dinov2(state: State, grid: Grid | None) -> tuple[State, dict[str, str]]:
    """Blocks without chunks, timm's names of gated MLPs, registers as named tokens."""
    return split_tokens(plain_names(flat_blocks(state)), grid, ("register_tokens",))


def _to_dinov2(state: State) -> State:
    """The inverse of :func:`_from_dinov2`; blocks stay without chunks."""
    return gate_names(join_tokens(state, "register_tokens"))


def _with_class_row(state: State, grid: Grid | None) -> tuple[State, dict[str, str]]:
    return add_class_row(state), {}


TIMM_POOLED = Format(
    name="timm-pooled",
    words="encoders without a class token: I-JEPA's alone, timm's 'gap' models",
    wrapper=None,
    signature=(r"pos_embed$", r"patch_embed\.proj\.weight$", r"blocks\.0\.attn\.qkv\.weight$"),
    absent=(*OTHERS, r"mask_token$", r"cls_token$", r"attn_pool\.", r"layers\.", r"reg_token$",
            r"rope\."),
    renames=(
        *plain_encoder(
            parts=tuple(part for part in PARTS if part != "cls_token"),
            inside=(*PLAIN_BLOCK, "ls1.gamma", "ls2.gamma"),
        ),
        *CLASSIFIER,
    ),
    before=_with_class_row,
    after=drop_class_row,
)  # fmt: skip

DINOV2 = Format(
    name="dinov2",
    words="facebookresearch/dinov2, backbones",
    wrapper=None,
    signature=(
        r"cls_token$",
        r"mask_token$",
        r"blocks\.0\.(0\.)?attn\.qkv\.bias$",
        r"blocks\.0\.(0\.)?ls1\.gamma$",
    ),
    absent=(*OTHERS, r"unknown_position$"),
    renames=plain_encoder(
        parts=(*PARTS, "mask_token"), inside=(*PLAIN_BLOCK, "ls1.gamma", "ls2.gamma")
    ),
    decode=one_token,
    encode=flat_token,
    before=_from_dinov2,
    after=_to_dinov2,
    heads={384: 6, 768: 12, 1024: 16, 1536: 24},
)
