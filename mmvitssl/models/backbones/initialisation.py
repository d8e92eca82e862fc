"""Published weight initialisations of the plain Vision Transformer; ``model`` is a ViT."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn import init


def _tokens(model: Any, std: float) -> None:
    init.normal_(model.cls_token, std=std)
    for token in model.prefix_tokens.values():
        init.normal_(token, std=max(std, 0.02))
    if model.mask_token is not None:
        init.normal_(model.mask_token, std=0.02)


def _learned_position(model: Any) -> None:
    if model.position == "learned":
        init.trunc_normal_(model.pos_embed, std=0.02)


def init_timm(model: Any) -> None:
    """timm's and DeiT's: truncated normal of std .02, biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                init.zeros_(module.bias)
    _tokens(model, 1e-6)
    _learned_position(model)


def _xavier_linear(module: nn.Linear) -> None:
    init.xavier_uniform_(module.weight)
    if module.bias is not None:
        init.zeros_(module.bias)


def init_xavier(model: Any) -> None:
    """MAE's: Xavier uniform, the patch projection seen as a linear layer, tokens normal .02."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            _xavier_linear(module)
    init.xavier_uniform_(model.patch_embed.proj.weight.view(model.embed_dim, -1))
    _tokens(model, 0.02)
    _learned_position(model)


def init_mocov3(model: Any) -> None:
    """MoCo v3's: Xavier with q, k and v seen as three layers, uniform patch projection."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            _xavier_linear(module)
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


INITIALISERS: dict[str, Callable[[Any], None]] = {
    "timm": init_timm,
    "xavier": init_xavier,
    "mocov3": init_mocov3,
}
