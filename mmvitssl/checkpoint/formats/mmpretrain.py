"""mmpretrain's (and mmselfsup's) MAE, BEiT and CAE."""

from __future__ import annotations

from mmvitssl.checkpoint.formats.base import INDEX_BUFFERS, Extra, Format, Rename
from mmvitssl.checkpoint.formats.cae import TASK, encoder_copy
from mmvitssl.checkpoint.formats.masked import NECK

TOKENIZER = Extra(r"target_generator\..*", "the frozen tokenizer, kept in a file of its own here")
PREPROCESSOR = Extra(r"data_preprocessor\..*", "normalisation, which the config says here")


def _block(theirs: str, ours: str) -> tuple[Rename, ...]:
    """Names inside a transformer block."""
    return (
        Rename(theirs + ".{i}.ln1.*", ours + ".{i}.norm1.*"),
        Rename(theirs + ".{i}.ln2.*", ours + ".{i}.norm2.*"),
        Rename(theirs + ".{i}.ffn.layers.0.0.*", ours + ".{i}.mlp.fc1.*"),
        Rename(theirs + ".{i}.ffn.layers.1.*", ours + ".{i}.mlp.fc2.*"),
        Rename(theirs + ".{i}.gamma_1", ours + ".{i}.ls1.gamma"),
        Rename(theirs + ".{i}.gamma_2", ours + ".{i}.ls2.gamma"),
        *(
            Rename(f"{theirs}.{{i}}.attn.{part}", f"{ours}.{{i}}.attn.{part}")
            for part in ("qkv.*", "q_bias", "v_bias", "proj.*")
        ),
    )


BACKBONE = (
    Rename("backbone.cls_token", "encoder.cls_token"),
    Rename("backbone.pos_embed", "encoder.pos_embed"),
    Rename("backbone.mask_token", "encoder.mask_token"),
    Rename("backbone.patch_embed.projection.*", "encoder.patch_embed.proj.*"),
    Rename(
        "backbone.rel_pos_bias.relative_position_bias_table",
        "encoder.rel_pos_bias.relative_position_bias_table",
    ),
    Rename("backbone.ln1.*", "encoder.norm.*"),
    *_block("backbone.layers", "encoder.blocks"),
)

MMPRETRAIN_MAE = Format(
    name="mmpretrain-mae",
    words="mmpretrain's MAE, pretraining",
    wrapper="state_dict",
    signature=(r"backbone\.layers\.0\.", r"neck\.decoder_embed\.weight$"),
    renames=(
        *BACKBONE,
        Rename("neck.mask_token", NECK + "mask_token"),
        Rename("neck.decoder_pos_embed", NECK + "pos_embed"),
        Rename("neck.decoder_embed.*", NECK + "embed.*"),
        *_block("neck.decoder_blocks", NECK + "blocks"),
        Rename("neck.ln1.*", NECK + "norm.*"),
        Rename("neck.decoder_pred.*", NECK + "pred.*"),
    ),
    extras=(PREPROCESSOR,),
    task=("masked", "MaskedModeling"),
    heads={768: 12, 1024: 16, 1280: 16},
)

MMPRETRAIN_BEIT = Format(
    name="mmpretrain-beit",
    words="mmpretrain's BEiT, pretraining",
    wrapper="state_dict",
    signature=(
        r"backbone\.layers\.0\.gamma_1$",
        r"backbone\.rel_pos_bias\.relative_position_bias_table$",
    ),
    absent=(r"neck\.",),
    renames=(*BACKBONE, Rename("head.cls_head.*", NECK + "layers.0.*")),
    extras=(INDEX_BUFFERS, TOKENIZER, PREPROCESSOR),
    task=("masked", "MaskedModeling"),
)

MMPRETRAIN_CAE = Format(
    name="mmpretrain-cae",
    words="mmpretrain's CAE, pretraining",
    wrapper="state_dict",
    signature=(r"backbone\.layers\.0\.gamma_1$", r"neck\.regressors\.0\."),
    renames=(
        *BACKBONE,
        Rename("neck.mask_token", TASK + "regressor.mask_token"),
        Rename("neck.regressors.{i}.gamma_1_cross", TASK + "regressor.blocks.{i}.ls1.gamma"),
        Rename("neck.regressors.{i}.gamma_2_cross", TASK + "regressor.blocks.{i}.ls2.gamma"),
        Rename("neck.regressors.{i}.norm1_q_cross.*", TASK + "regressor.blocks.{i}.norm1_q.*"),
        Rename("neck.regressors.{i}.norm1_k_cross.*", TASK + "regressor.blocks.{i}.norm1_k.*"),
        Rename("neck.regressors.{i}.norm1_v_cross.*", TASK + "regressor.blocks.{i}.norm1_v.*"),
        Rename("neck.regressors.{i}.norm2_cross.*", TASK + "regressor.blocks.{i}.norm2.*"),
        Rename("neck.regressors.{i}.cross_attn.*", TASK + "regressor.blocks.{i}.cross_attn.*"),
        Rename("neck.regressors.{i}.ffn.layers.0.0.*", TASK + "regressor.blocks.{i}.mlp.fc1.*"),
        Rename("neck.regressors.{i}.ffn.layers.1.*", TASK + "regressor.blocks.{i}.mlp.fc2.*"),
        *_block("neck.decoders", TASK + "decoder.blocks"),
        Rename("neck.norm_regressor.*", TASK + "regressor.norm.*"),
        Rename("neck.norm_decoder.*", TASK + "decoder.norm.*"),
        Rename("neck.head.*", TASK + "decoder.head.*"),
    ),
    extras=(encoder_copy("backbone.", "teacher."), TOKENIZER, PREPROCESSOR),
    task=("context", "ContextAutoencoding"),
    heads={768: 12},
)
