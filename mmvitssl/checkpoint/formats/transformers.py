"""Hugging Face transformers: ViT, ViTMAE and DINOv2, whose queries, keys and values are apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from mmvitssl.checkpoint.formats.base import Extra, Format, Rename, State
from mmvitssl.checkpoint.formats.gated import gate_names, plain_names
from mmvitssl.checkpoint.formats.masked import NECK
from mmvitssl.checkpoint.formats.timm import flat_token, one_token
from mmvitssl.checkpoint.formats.tokens import (
    Grid,
    add_class_row,
    drop_class_row,
    join_tokens,
    split_tokens,
)

HF_GATES = ("weights_in", "weights_out")
PARTS = ("query", "key", "value")
TABLE = "embeddings.position_embeddings"
_TABLE = re.compile(r"(vit\.)?embeddings\.position_embeddings")
TOKENS = {TABLE: "pos_embed", "embeddings.register_tokens": "register_tokens"}


def join_qkv(state: State, parts: Sequence[str] = PARTS, kinds: str = "weight|bias") -> State:
    """Queries, keys and values as one tensor, where all three are there.

    Args:
        state: names and tensors.
        parts: names of the layers of queries, keys and values.
        kinds: which of their tensors, a regular expression.
    """
    apart = re.compile(rf"(.*attention\.)({'|'.join(parts)})\.({kinds})")
    joined: State = {}
    for key, tensor in state.items():
        match = apart.fullmatch(key)
        names = [f"{match[1]}{part}.{match[3]}" for part in parts] if match else []
        if not match or any(name not in state for name in names):
            joined[key] = tensor
        elif match[2] == parts[0]:
            joined[f"{match[1]}qkv.{match[3]}"] = torch.cat([state[name] for name in names])
    return joined


def split_qkv(state: State, parts: Sequence[str] = PARTS, kinds: str = "weight|bias") -> State:
    """The inverse of :func:`join_qkv`."""
    joined = re.compile(rf"(.*attention\.)qkv\.({kinds})")
    apart: State = {}
    for key, tensor in state.items():
        match = joined.fullmatch(key)
        if match is None:
            apart[key] = tensor
            continue
        for part, values in zip(parts, tensor.chunk(3), strict=True):
            apart[f"{match[1]}{part}.{match[2]}"] = values.clone()
    return apart


def _joined(state: State, grid: Grid | None) -> tuple[State, dict[str, str]]:
    state = join_qkv(state)
    if not any(key.endswith("embeddings.cls_token") for key in state):  # I-JEPA
        state = {_TABLE.sub("pos_embed", key): tensor for key, tensor in state.items()}
        state = {"vit." + TABLE if k == "pos_embed" else k: v
                 for k, v in add_class_row(state).items()}  # fmt: skip
    return state, {}


def _split(state: State) -> State:
    """The inverse of :func:`_joined`."""
    state = split_qkv(state)
    table = "vit." + TABLE
    if table in state and not any(key.endswith("embeddings.cls_token") for key in state):
        state[table] = drop_class_row({"pos_embed": state[table]})["pos_embed"]
    return state


def _with_registers(state: State, grid: Grid | None) -> tuple[State, dict[str, str]]:
    """DINOv2's registers as named tokens; its table has no rows for them."""
    back = {new: old for old, new in TOKENS.items()}
    state = {TOKENS.get(key, key): tensor for key, tensor in plain_names(join_qkv(state)).items()}
    state, kept = split_tokens(state, grid, ("register_tokens",))
    return state, {back.get(key, key): reason for key, reason in kept.items()}


def _without_registers(state: State) -> State:
    back = {new: old for old, new in TOKENS.items()}
    state = gate_names(join_tokens(split_qkv(state), "register_tokens"), HF_GATES)
    return {back.get(key, key): tensor for key, tensor in state.items()}


def _blocks(theirs: str, ours: str) -> tuple[Rename, ...]:
    """Names inside the blocks of ViT and ViTMAE."""
    names = {
        "layernorm_before.*": "norm1.*",
        "attention.attention.qkv.*": "attn.qkv.*",
        "attention.output.dense.*": "attn.proj.*",
        "layernorm_after.*": "norm2.*",
        "intermediate.dense.*": "mlp.fc1.*",
        "output.dense.*": "mlp.fc2.*",
    }
    return tuple(
        Rename(f"{theirs}.{{i}}.{old}", f"{ours}.{{i}}.{new}") for old, new in names.items()
    )


def _encoder(front: str) -> tuple[Rename, ...]:
    """Names of ViT and ViTMAE behind ``front``, which models without a head leave out."""
    return (
        Rename(front + "embeddings.cls_token", "encoder.cls_token"),
        Rename(front + TABLE, "encoder.pos_embed"),
        Rename(front + "embeddings.patch_embeddings.projection.*", "encoder.patch_embed.proj.*"),
        Rename(front + "layernorm.*", "encoder.norm.*"),
        *_blocks(front + "encoder.layer", "encoder.blocks"),
    )


POOLER = Extra(r"(vit\.)?pooler\..*", "a layer on the class token that only supervised models use")
BARE = (("embeddings.", "vit.embeddings."), ("encoder.", "vit.encoder."),
        ("layernorm.", "vit.layernorm."), ("pooler.", "vit.pooler."))  # fmt: skip

TRANSFORMERS_VITMAE = Format(
    name="transformers-vitmae",
    words="Hugging Face transformers' ViTMAE, pretraining",
    wrapper=None,
    signature=(r"vit\.embeddings\.patch_embeddings\.projection\.weight$",
               r"decoder\.decoder_embed\.weight$"),
    renames=(
        *_encoder("vit."),
        Rename("decoder.mask_token", NECK + "mask_token"),
        Rename("decoder.decoder_pos_embed", NECK + "pos_embed"),
        Rename("decoder.decoder_embed.*", NECK + "embed.*"),
        *_blocks("decoder.decoder_layers", NECK + "blocks"),
        Rename("decoder.decoder_norm.*", NECK + "norm.*"),
        Rename("decoder.decoder_pred.*", NECK + "pred.*"),
    ),
    # as version 5 writes them
    prefixes=(("decoder.decoder_encoder.layer.", "decoder.decoder_layers."),),
    before=_joined,
    after=split_qkv,
    task=("masked", "MaskedModeling"),
    heads={768: 12, 1024: 16, 1280: 16},
)  # fmt: skip

TRANSFORMERS_VIT = Format(
    name="transformers-vit",
    words="Hugging Face transformers' ViT, and ViTMAE's encoder",
    wrapper=None,
    signature=(r"(vit\.)?embeddings\.patch_embeddings\.projection\.weight$",
               r"(vit\.)?encoder\.layer\.0\.attention\.attention\.query\.weight$",
               r"(vit\.)?encoder\.layer\.0\.layernorm_before\.weight$"),
    absent=(r".*lambda_1$", r".*relative_position_bias", r".*distillation_token$"),
    prefixes=BARE,
    renames=(*_encoder("vit."), Rename("classifier.*", "head.*")),
    extras=(POOLER,),
    before=_joined,
    after=_split,
)  # fmt: skip

_DINOV2 = {
    "norm1.*": "norm1.*",
    "norm2.*": "norm2.*",
    "attention.attention.qkv.*": "attn.qkv.*",
    "attention.output.dense.*": "attn.proj.*",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "mlp.*": "mlp.*",
}

TRANSFORMERS_DINOV2 = Format(
    name="transformers-dinov2",
    words="Hugging Face transformers' DINOv2, with and without registers",
    wrapper=None,
    signature=(r"embeddings\.patch_embeddings\.projection\.weight$",
               r"encoder\.layer\.0\.layer_scale1\.lambda1$"),
    renames=(
        Rename("embeddings.cls_token", "encoder.cls_token"),
        Rename("embeddings.mask_token", "encoder.mask_token"),
        Rename("embeddings.patch_embeddings.projection.*", "encoder.patch_embed.proj.*"),
        Rename("pos_embed", "encoder.pos_embed"),
        Rename("prefix_tokens.*", "encoder.prefix_tokens.*"),
        Rename("layernorm.*", "encoder.norm.*"),
        *(Rename(f"encoder.layer.{{i}}.{old}", f"encoder.blocks.{{i}}.{new}")
          for old, new in _DINOV2.items()),
    ),
    decode=one_token,
    encode=flat_token,
    before=_with_registers,
    after=_without_registers,
    heads={384: 6, 768: 12, 1024: 16, 1536: 24},
)  # fmt: skip
