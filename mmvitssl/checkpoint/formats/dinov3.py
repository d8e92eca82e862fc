"""DINOv3's Vision Transformers: the official layout and timm's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmvitssl.checkpoint.formats.base import (
    QV_BLOCK,
    Extra,
    Format,
    State,
    plain_encoder,
    scaled_blocks,
)
from mmvitssl.checkpoint.formats.tokens import Grid, join_tokens, split_tokens

PARTS = ("cls_token", "patch_embed.proj.*", "norm.*", "prefix_tokens.*")
HEADS = {384: 6, 768: 12, 1024: 16}
MASKED_KEYS = "the bias of the keys is masked there and does not exist here"
BIAS = ".attn.qkv.bias"


def _not_four(state: Mapping[str, Tensor]) -> str | None:
    tokens = state.get("reg_token")
    if tokens is None or (tokens.ndim == 3 and tokens.shape[1] == 4):
        return None
    return (
        f"The file looks like DINOv3's and has {tuple(tokens.shape)} register tokens instead of "
        f"four: another model with rotary position embeddings, which the encoders here have not."
    )


TIMM_DINOV3 = Format(
    name="timm-dinov3",
    words="timm's DINOv3 (vit_*_dinov3, ViT-S, -B and -L)",
    wrapper=None,
    signature=(r"cls_token$", r"reg_token$", r"blocks\.0\.gamma_1$",
               r"blocks\.0\.attn\.qkv\.weight$"),
    absent=(r"pos_embed$", r"rope\.", r"fc_norm\.", r"norm_pre\.", r"encoder\.",
            r".*relative_position_bias_table$"),
    renames=(
        *scaled_blocks("blocks", "encoder.blocks"),
        *plain_encoder(parts=PARTS, inside=QV_BLOCK),
    ),
    before=split_tokens,
    after=join_tokens,
    heads=HEADS,
    relative_position="rope",
    refuse=_not_four,
)  # fmt: skip


def _from_official(state: State, grid: Grid | None) -> tuple[State, dict[str, str]]:
    """Registers as named tokens; biases of queries and values apart."""
    state, kept = split_tokens(state, grid, ("storage_tokens",))
    for key in [key for key in state if key.endswith(BIAS)]:
        query, _, value = state.pop(key).chunk(3)
        front = key[: -len("qkv.bias")]
        state |= {front + "q_bias": query, front + "v_bias": value}
        kept[key] = MASKED_KEYS
    if "mask_token" in state:
        state["mask_token"] = state["mask_token"].reshape(1, 1, -1)
    return state, kept


def _to_official(state: State) -> State:
    """The inverse of :func:`_from_official`, with keys' biases of 0."""
    state = join_tokens(state, "storage_tokens")
    for key in [key for key in state if key.endswith(".attn.q_bias")]:
        query, value = state.pop(key), state.pop(key.replace("q_bias", "v_bias"))
        bias = torch.cat([query, torch.zeros_like(query), value])
        state[key.replace("q_bias", "qkv.bias")] = bias
    if "mask_token" in state:
        state["mask_token"] = state["mask_token"].reshape(1, -1)
    return state


def _periods(theirs: State, image_size: int) -> State:
    """Of the rotation: all published models have heads of 64 channels."""
    quarter = 64 // 4
    periods = 100.0 ** (torch.arange(quarter) / quarter)
    return {"rope_embed.periods": periods.to(torch.bfloat16)}


DINOV3 = Format(
    name="dinov3",
    words="facebookresearch/dinov3, backbones (ViT-S, -B and -L)",
    wrapper=None,
    signature=(r"storage_tokens$", r"rope_embed\.periods$", r"blocks\.0\.ls1\.gamma$"),
    absent=(r"encoder\.",),
    renames=plain_encoder(
        parts=(*PARTS, "mask_token"), inside=(*QV_BLOCK, "ls1.gamma", "ls2.gamma")
    ),
    extras=(
        Extra(r"rope_embed\.periods", "the periods of the rotation are computed here",
              _periods),
        Extra(r".*attn\.qkv\.bias_mask", MASKED_KEYS),
    ),
    before=_from_official,
    after=_to_official,
    heads=HEADS,
    relative_position="rope",
)  # fmt: skip
