"""Official checkpoints of MAE, LoMaR and BEiT."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmvitssl.checkpoint.formats.base import (
    CLASSIFIER,
    INDEX_BUFFERS,
    OWN_TOKENS,
    PLAIN_BLOCK,
    QV_BLOCK,
    Extra,
    Format,
    Rename,
    State,
    make_positions,
    plain_encoder,
    scaled_blocks,
)

NECK = "tasks.masked.neck."
BLOCK_TABLE = "encoder.blocks.{}.attn.relative_position_bias_table"
SHARED_TABLE = "encoder.rel_pos_bias.relative_position_bias_table"


def encoder_only(state: State) -> State:
    """The encoder without what serves pretraining alone."""
    return {
        key: tensor
        for key, tensor in state.items()
        if key.startswith("encoder.") and not key.startswith("encoder.mask_token")
    }


def without_norm(state: State) -> State:
    """MAE's and LoMaR's convention: mean pooling with a fresh ``fc_norm``, the norm left out."""
    return {k: v for k, v in encoder_only(state).items() if not k.startswith("encoder.norm.")}


def table_a_block(state: State) -> State:
    """BEiT's convention: the shared bias table copied to every block, a fresh ``fc_norm``."""
    state = without_norm(state)
    table = state.pop(SHARED_TABLE, None)
    if table is not None:
        depth = 1 + max(int(k.split(".")[2]) for k in state if k.startswith("encoder.blocks."))
        state.update({BLOCK_TABLE.format(i): table.clone() for i in range(depth)})
    return state


TASK = ("masked", "MaskedModeling")


def not_beit(state: Mapping[str, Tensor]) -> str | None:
    """Why a state dict with BEiT's names of blocks is of another model; None: it is not.

    EVA-02, DINOv3 and timm's ``rope`` models have the same names. Their positions are rotary, and
    most files show it only by what is missing.
    """
    rotary = any(key.startswith("rope.") for key in state)
    tables = any(k == "pos_embed" or k.endswith("relative_position_bias_table") for k in state)
    hidden = [state.get(f"blocks.0.mlp.fc{i}.weight") for i in (1, 2)]
    gated = all(part is not None for part in hidden) and len(hidden[0]) != hidden[1].shape[1]  # type: ignore[arg-type, union-attr]
    if rotary or gated or not tables:
        why = (
            "it holds rope.*" if rotary
            else "its MLPs are gated (SwiGLU)" if gated
            else "it holds neither pos_embed nor relative_position_bias_table"
        )  # fmt: skip
        return (
            f"The file looks like BEiT's, but its model has rotary position embeddings (such as "
            f"EVA-02's, DINOv3's or timm's 'rope' models): {why}. The encoders here have none, and "
            f"without them the features would be wrong."
        )
    if "blocks.0.gamma_1" in state and "blocks.0.attn.qkv.bias" in state:
        return (
            "The file has gamma_1 and attn.qkv.bias: DeiT III has these names, and so have timm's "
            "models with rotary position embeddings ('rope_ape'), which the encoders here have "
            "not; nothing in the file tells which one it is. If it is DeiT III's, take timm's file "
            "of it (deit3_*), or rename gamma_1 and gamma_2 to ls1.gamma and ls2.gamma."
        )
    return None


MAE = Format(
    name="mae",
    words="facebookresearch/mae, pretraining",
    wrapper="model",
    signature=(r"decoder_embed\.weight$", r"decoder_pos_embed$"),
    renames=(
        Rename("mask_token", NECK + "mask_token"),
        Rename("decoder_pos_embed", NECK + "pos_embed"),
        Rename("decoder_embed.*", NECK + "embed.*"),
        Rename("decoder_blocks.{i}.*", NECK + "blocks.{i}.*"),
        Rename("decoder_norm.*", NECK + "norm.*"),
        Rename("decoder_pred.*", NECK + "pred.*"),
        *plain_encoder(
            parts=("cls_token", "pos_embed", "patch_embed.proj.*", "norm.*"), inside=PLAIN_BLOCK
        ),
        *CLASSIFIER,
    ),
    finetune=without_norm,
    task=TASK,
    heads={768: 12, 1024: 16, 1280: 16},
)

LOMAR = Format(
    name="lomar",
    words="junchen14/LoMaR, pretraining and fine-tuning",
    wrapper="model",
    signature=(r"blocks\.0\.attn\.rpe_k\.lookup_table_weight$",),
    absent=(r"encoder\.", OWN_TOKENS),
    renames=(
        Rename("encoder_pred.*", NECK + "layers.0.*"),
        *plain_encoder(
            parts=("cls_token", "mask_token", "patch_embed.proj.*", "norm.*"),
            inside=(*PLAIN_BLOCK, "attn.rpe_k.lookup_table_weight"),
        ),
        *CLASSIFIER,
    ),
    extras=(
        Extra(
            r"pos_embed",
            "LoMaR's code has a position table and never adds it",
            make_positions("sincos_column_first"),
        ),
    ),
    finetune=without_norm,
    task=TASK,
)

BEIT = Format(
    name="beit",
    words="microsoft/unilm BEiT, pretraining and fine-tuning; timm's BEiT; CAE's fine-tuning",
    wrapper="model",
    signature=(r"blocks\.0\.attn\.qkv\.weight$", r"blocks\.0\.(gamma_1|attn\.q_bias)$"),
    absent=(r"encoder\.", OWN_TOKENS),
    renames=(
        Rename("lm_head.*", NECK + "layers.0.*"),
        *scaled_blocks("blocks", "encoder.blocks"),
        *plain_encoder(inside=(*QV_BLOCK, "attn.relative_position_bias_table")),
        # an encoder of this package, saved by itself, looks like BEiT's but for these names
        *plain_encoder(parts=(), inside=("ls1.gamma", "ls2.gamma")),
        *CLASSIFIER,
    ),
    extras=(INDEX_BUFFERS,),
    finetune=table_a_block,
    task=TASK,
    refuse=not_beit,
)
