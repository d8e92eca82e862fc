"""Both official releases of CAE."""

from __future__ import annotations

from mmvitssl.checkpoint.formats.base import (
    CLASSIFIER,
    QV_BLOCK,
    Extra,
    Format,
    Rename,
    State,
    plain_encoder,
    scaled_blocks,
)
from mmvitssl.checkpoint.formats.masked import encoder_only
from mmvitssl.models.backbones.position import sincos_table

TASK = "tasks.context."
HEADS = {384: 12, 768: 12, 1024: 16}
ENCODER = ("cls_token", "pos_embed", "patch_embed.proj.*", "norm.*")


def norm_for_pooling(state: State) -> State:
    """CAE's convention: the pretrained norm becomes ``fc_norm`` behind mean pooling."""
    return {
        ("fc_norm." + key.removeprefix("encoder.norm.") if "encoder.norm." in key else key): tensor
        for key, tensor in encoder_only(state).items()
    }


def regressor_blocks(theirs: str) -> tuple[Rename, ...]:
    """Names of the cross-attention blocks."""
    ours = TASK + "regressor.blocks"
    return (
        Rename(theirs + ".{i}.gamma_1_cross", ours + ".{i}.ls1.gamma"),
        Rename(theirs + ".{i}.gamma_2_cross", ours + ".{i}.ls2.gamma"),
        Rename(theirs + ".{i}.norm2_cross.*", ours + ".{i}.norm2.*"),
        Rename(theirs + ".{i}.mlp_cross.*", ours + ".{i}.mlp.*"),
        Rename(theirs + ".{i}.*", ours + ".{i}.*"),
    )


def decoder_blocks(theirs: str) -> tuple[Rename, ...]:
    """Names of the decoder's blocks."""
    ours = TASK + "decoder.blocks"
    return (*scaled_blocks(theirs, ours), Rename(theirs + ".{i}.*", ours + ".{i}.*"))


def encoder_copy(theirs: str, copy: str) -> Extra:
    """The copy of the encoder that aligns; here the encoder shares its weights."""

    def make(state: State, image_size: int) -> State:
        return {
            copy + key.removeprefix(theirs): tensor.clone()
            for key, tensor in state.items()
            if key.startswith(theirs)
        }

    reason = "the aligning copy of the encoder, whose weights are shared here"
    return Extra(copy.replace(".", r"\.") + ".*", reason, make)


ENCODER_LINES = (
    *scaled_blocks("encoder.blocks", "encoder.blocks"),
    *plain_encoder("encoder.", parts=ENCODER, inside=QV_BLOCK),
)
CAE = Format(
    name="cae",
    words="lxtGH/CAE, pretraining",
    wrapper="model",
    # or its encoder alone, as exported: the scales have other names here
    signature=(
        r"(pretext_neck\.regressor_blocks\.0\.|encoder\.blocks\.0\.gamma_1$)",
        r"encoder\.cls_token$",
    ),
    renames=(
        Rename("mask_token", TASK + "regressor.mask_token"),
        Rename("encoder_to_decoder.*", TASK + "projection.linear.*"),
        Rename("encoder_to_decoder_norm.*", TASK + "projection.norm.*"),
        *regressor_blocks("pretext_neck.regressor_blocks"),
        *decoder_blocks("pretext_neck.decoder_blocks"),
        Rename("pretext_neck.norm.*", TASK + "regressor.norm.*"),
        Rename("pretext_neck.norm2.*", TASK + "decoder.norm.*"),
        Rename("pretext_neck.head.*", TASK + "decoder.head.*"),
        *ENCODER_LINES,
        *CLASSIFIER,
    ),
    # the official code does not save it, so an export has none
    extras=(Extra(r"teacher\..*", encoder_copy("encoder.", "teacher.").reason),),
    finetune=norm_for_pooling,
    task=("context", "ContextAutoencoding"),
    heads=HEADS,
)


def _rd_positions(theirs: State, image_size: int) -> State:
    width = theirs["mask_token"].shape[-1]
    projection = theirs["encoder.patch_embed.proj.weight"]
    side = image_size // projection.shape[-1]
    return {"rd_pos_embed": sincos_table((side, side), width, "sincos_row_first")}


CAE_A = Format(
    name="cae-a",
    words="Atten4Vis/CAE, pretraining",
    wrapper="model",
    signature=(r"regresser\.regressor_blocks\.0\.", r"encoder\.cls_token$"),
    renames=(
        Rename("mask_token", TASK + "regressor.mask_token"),
        Rename("encoder_to_regresser.*", TASK + "projection.linear.*"),
        Rename("encoder_to_regresser_norm.*", TASK + "projection.norm.*"),
        *regressor_blocks("regresser.regressor_blocks"),
        *decoder_blocks("decoder.decoder_blocks"),
        Rename("regresser.norm.*", TASK + "regressor.norm.*"),
        Rename("decoder.norm.*", TASK + "decoder.norm.*"),
        Rename("decoder.head.*", TASK + "decoder.head.*"),
        *ENCODER_LINES,
        *CLASSIFIER,
    ),
    extras=(
        encoder_copy("encoder.", "alignment_encoder."),
        Extra(r"rd_pos_embed", "fixed sine-cosine positions, computed here", _rd_positions),
    ),
    finetune=norm_for_pooling,
    task=("context", "ContextAutoencoding"),
    heads=HEADS,
)
