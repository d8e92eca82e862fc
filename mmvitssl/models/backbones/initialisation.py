"""Published weight initialisations of the plain Vision Transformer and of what is built like it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import init


def cut_normal(tensor: Tensor, std: float = 0.02) -> None:
    """BEiT's and CAE's normal distribution, cut at one standard deviation."""
    init.trunc_normal_(tensor, std=std, a=-std, b=std)


def xavier_linears(model: nn.Module) -> None:
    """Xavier uniform for every linear layer, biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)


def _normal_linears(model: nn.Module, fill: Callable[[Tensor], Any]) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            fill(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)


def _tokens(model: Any, std: float) -> None:
    if model.cls_token is not None:
        init.normal_(model.cls_token, std=std)
    for token in model.prefix_tokens.values():
        init.normal_(token, std=max(std, 0.02))
    if model.mask_token is not None:
        init.normal_(model.mask_token, std=0.02)


def _learned_position(model: Any) -> None:
    if model.position == "learned":
        init.trunc_normal_(model.pos_embed, std=0.02)


def init_timm(model: Any) -> None:
    """timm's: truncated normal of std .02, biases 0, the class token next to 0."""
    _normal_linears(model, lambda weight: init.trunc_normal_(weight, std=0.02))
    _tokens(model, 1e-6)
    _learned_position(model)


def init_deit(model: Any) -> None:
    """As timm's, with a class token and others of truncated normal .02 (DeiT, DINO, MoBY, SiT)."""
    init_timm(model)
    for token in (model.cls_token, *model.prefix_tokens.values()):
        init.trunc_normal_(token, std=0.02)


def init_xavier(model: Any) -> None:
    """MAE's: Xavier uniform, the patch projection seen as a linear layer, tokens normal .02."""
    xavier_linears(model)
    init.xavier_uniform_(model.patch_embed.proj.weight.view(model.embed_dim, -1))
    _tokens(model, 0.02)
    _learned_position(model)


def init_mocov3(model: Any) -> None:
    """MoCo v3's: Xavier with q, k and v seen as three layers, uniform patch projection."""
    xavier_linears(model)
    for block in model.blocks:
        weight = block.attn.qkv.weight
        bound = math.sqrt(6.0 / (weight.shape[0] / 3 + weight.shape[1]))
        init.uniform_(weight, -bound, bound)
    projection = model.patch_embed.proj
    bound = math.sqrt(6.0 / (projection.weight[0].numel() + model.embed_dim))
    init.uniform_(projection.weight, -bound, bound)
    init.zeros_(projection.bias)
    _tokens(model, 1e-6)
    _learned_position(model)


def _cut_embedding(model: Any) -> None:
    cut_normal(model.patch_embed.proj.weight)
    init.zeros_(model.patch_embed.proj.bias)
    tokens = [model.cls_token, *model.prefix_tokens.values(), model.mask_token]
    for token in tokens + ([model.pos_embed] if model.position == "learned" else []):
        if token is not None:
            cut_normal(token)


@torch.no_grad()
def init_beit(model: Any) -> None:
    """BEiT's: cut normal .02, the outputs of block l divided by sqrt(2 l)."""
    _normal_linears(model, cut_normal)
    _cut_embedding(model)
    for layer, block in enumerate(model.blocks, start=1):
        block.attn.proj.weight.div_(math.sqrt(2.0 * layer))
        block.mlp.fc2.weight.div_(math.sqrt(2.0 * layer))


def init_cae(model: Any) -> None:
    """CAE's: BEiT's embedding, Xavier uniform for all linear layers."""
    xavier_linears(model)
    _cut_embedding(model)


def init_ibot(model: Any) -> None:
    """iBOT's: timm's, class token of std .02, mask token 0."""
    init_timm(model)
    if model.cls_token is not None:
        init.trunc_normal_(model.cls_token, std=0.02)
    if model.mask_token is not None:
        init.zeros_(model.mask_token)


def init_dinov2(model: Any) -> None:
    """DINOv2's: timm's, registers of std 1e-6 as the class token, mask token 0."""
    init_timm(model)
    for token in model.prefix_tokens.values():
        init.normal_(token, std=1e-6)
    if model.mask_token is not None:
        init.zeros_(model.mask_token)


INITIALISERS: dict[str, Callable[[Any], None]] = {
    "timm": init_timm,
    "deit": init_deit,
    "xavier": init_xavier,
    "mocov3": init_mocov3,
    "beit": init_beit,
    "cae": init_cae,
    "ibot": init_ibot,
    "dinov2": init_dinov2,
}
