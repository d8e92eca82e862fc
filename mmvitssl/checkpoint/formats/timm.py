"""timm's Vision Transformers, which DeiT, MAE's and LoMaR's encoders share."""

from __future__ import annotations

from mmvitssl.checkpoint.formats.base import (
    CLASSIFIER,
    OWN_TOKENS,
    PLAIN_BLOCK,
    Format,
    plain_encoder,
)

TIMM = Format(
    name="timm",
    words="timm and DeiT Vision Transformers, MAE's encoder alone",
    wrapper=None,
    signature=(r"cls_token$", r"patch_embed\.proj\.weight$", r"blocks\.0\.attn\.qkv\.weight$"),
    absent=(
        r".*gamma_1$",
        r".*relative_position_bias_table$",
        r"encoder\.",
        r"dist_token$",
        r"mask_token$",
        OWN_TOKENS,
    ),
    renames=(
        *plain_encoder(
            parts=("cls_token", "pos_embed", "patch_embed.proj.*", "norm.*"),
            inside=(*PLAIN_BLOCK, "ls1.gamma", "ls2.gamma"),
        ),
        *CLASSIFIER,
    ),
)
