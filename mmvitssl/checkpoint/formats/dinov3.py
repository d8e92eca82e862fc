"""DINOv3's Vision Transformers: the official layout, timm's and Hugging Face transformers'."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmvitssl.checkpoint.formats.base import (
    QV_BLOCK,
    Extra,
    Format,
    Rename,
    State,
    plain_encoder,
    scaled_blocks,
)
from mmvitssl.checkpoint.formats.gated import join_gates, split_gates
from mmvitssl.checkpoint.formats.tokens import Grid, join_tokens, split_tokens
from mmvitssl.checkpoint.formats.transformers import join_qkv, split_qkv

PARTS = ("cls_token", "patch_embed.proj.*", "norm.*", "prefix_tokens.*")
HEADS = {384: 6, 768: 12, 1024: 16, 1280: 20}
GATES, TIMM_GATES = ("w1", "w2", "w3"), ("fc1_g", "fc1_x", "fc2")
HF_GATES = ("gate_proj", "up_proj", "down_proj")
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


def _from_timm(state: State, grid: Grid | None) -> tuple[State, dict[str, str]]:
    """Registers as named tokens; gates and values as one layer."""
    state, kept = split_tokens(state, grid)
    return join_gates(state, TIMM_GATES), kept


def _to_timm(state: State) -> State:
    """The inverse of :func:`_from_timm`."""
    return join_tokens(split_gates(state, TIMM_GATES))


TIMM_DINOV3 = Format(
    name="timm-dinov3",
    words="timm's DINOv3 (vit_*_dinov3, all but the 7B)",
    wrapper=None,
    signature=(r"cls_token$", r"reg_token$", r"blocks\.0\.gamma_1$",
               r"blocks\.0\.attn\.qkv\.weight$"),
    absent=(r"pos_embed$", r"rope\.", r"fc_norm\.", r"norm_pre\.", r"encoder\.",
            r".*relative_position_bias_table$"),
    renames=(
        *scaled_blocks("blocks", "encoder.blocks"),
        *plain_encoder(parts=PARTS, inside=QV_BLOCK),
    ),
    before=_from_timm,
    after=_to_timm,
    heads=HEADS,
    relative_position="rope",
    refuse=_not_four,
)  # fmt: skip


def _from_official(state: State, grid: Grid | None) -> tuple[State, dict[str, str]]:
    """Registers as named tokens; biases of queries and values apart; gates and values joined."""
    state, kept = split_tokens(state, grid, ("storage_tokens",))
    state = join_gates(state, GATES)
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
    state = split_gates(join_tokens(state, "storage_tokens"), GATES)
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
    words="facebookresearch/dinov3, backbones (all but the 7B)",
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


QKV = ("q_proj", "k_proj", "v_proj")
REGISTERS = "embeddings.register_tokens"


def _from_transformers(state: State, grid: Grid | None) -> tuple[State, dict[str, str]]:
    """Queries, keys and values as one tensor; registers as named tokens; gates joined."""
    state, kept = split_tokens(state, grid, (REGISTERS,))
    return join_gates(join_qkv(state, QKV, "weight"), HF_GATES), kept


def _to_transformers(state: State) -> State:
    """The inverse of :func:`_from_transformers`."""
    state = split_gates(join_tokens(state, REGISTERS), HF_GATES, plain=("up_proj", "down_proj"))
    return split_qkv(state, QKV, "weight")


_TRANSFORMERS = {
    "norm1.*": "norm1.*",
    "norm2.*": "norm2.*",
    "attention.qkv.weight": "attn.qkv.weight",
    "attention.q_proj.bias": "attn.q_bias",
    "attention.v_proj.bias": "attn.v_bias",
    "attention.o_proj.*": "attn.proj.*",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "mlp.*": "mlp.*",
}

TRANSFORMERS_DINOV3 = Format(
    name="transformers-dinov3",
    words="Hugging Face transformers' DINOv3 (all Vision Transformers but the 7B)",
    wrapper=None,
    signature=(r"embeddings\.patch_embeddings\.weight$", r"layer\.0\.attention\.q_proj\.weight$",
               r"layer\.0\.layer_scale1\.lambda1$"),
    renames=(
        Rename("embeddings.cls_token", "encoder.cls_token"),
        Rename("embeddings.mask_token", "encoder.mask_token"),
        Rename("embeddings.patch_embeddings.*", "encoder.patch_embed.proj.*"),
        Rename("prefix_tokens.*", "encoder.prefix_tokens.*"),
        Rename("norm.*", "encoder.norm.*"),
        *(Rename(f"layer.{{i}}.{old}", f"encoder.blocks.{{i}}.{new}")
          for old, new in _TRANSFORMERS.items()),
    ),
    before=_from_transformers,
    after=_to_transformers,
    heads=HEADS,
    relative_position="rope",
)  # fmt: skip
