"""Official checkpoints of MoCo v3, DINO and MoBY."""

from __future__ import annotations

import torch

from mmvitssl.checkpoint.formats.base import PLAIN_BLOCK, Format, Rename, plain_encoder
from mmvitssl.checkpoint.formats.swin import SHIFT_MASK, WINDOW_INDEX, swin_encoder

TASK = "tasks.contrastive."
COPY = "target.modules_by_name."
VIT = ("cls_token", "pos_embed", "patch_embed.proj.*", "norm.*")
COUNTERS = {
    "target.updates": torch.zeros((), dtype=torch.long),
    "target.last_momentum": torch.zeros(()),
}


def _online_vit(theirs: str) -> tuple[Rename, ...]:
    return plain_encoder(theirs, parts=VIT, inside=PLAIN_BLOCK)


def _copied(lines: tuple[Rename, ...]) -> tuple[Rename, ...]:
    """The same lines for the momentum target's copy."""
    return tuple(Rename(line.theirs, COPY + line.ours) for line in lines)


MOCOV3 = Format(
    name="mocov3",
    words="facebookresearch/moco-v3, pretraining",
    wrapper="state_dict",
    signature=(r"(module\.)?base_encoder\.",),
    prefixes=(("module.", ""),),
    wrapped=(("module.", ""),),
    renames=(
        Rename("base_encoder.head.*", TASK + "projector.layers.*"),
        Rename("predictor.*", TASK + "predictor.layers.*"),
        *_online_vit("base_encoder."),
        Rename("momentum_encoder.head.*", COPY + "contrastive_projector.layers.*"),
        *_copied(_online_vit("momentum_encoder.")),
    ),
    fresh=COUNTERS,
    task=("contrastive", "Contrastive"),
    heads={384: 12, 768: 12, 1024: 16, 1280: 16},  # ViT-S too, unlike anyone else's
)

HEAD = ("mlp.*", "last_layer.*")
DINO = Format(
    name="dino",
    words="facebookresearch/dino, pretraining (student and teacher)",
    wrapper=None,
    nested=("student", "teacher", "dino_loss"),
    signature=(r"(student|teacher)\.(module\.)?backbone\.",),
    absent=(r"(student|teacher)\.(module\.)?backbone\.(mask_token|masked_embed)$",),
    prefixes=(("student.module.", "student."), ("teacher.module.", "teacher.")),
    wrapped=(("student.module.", "student."),),
    renames=(
        *(Rename("student.head." + part, "tasks.distillation.projector." + part) for part in HEAD),
        *_online_vit("student.backbone."),
        *(Rename("teacher.head." + part, COPY + "distillation_projector." + part) for part in HEAD),
        *_copied(_online_vit("teacher.backbone.")),
        Rename("dino_loss.center", "tasks.distillation.head.center"),
    ),
    fresh=COUNTERS,
    task=("distillation", "SelfDistillation"),
    heads={192: 3, 384: 6, 768: 12},
)


def _moby_mlp(theirs: str, ours: str) -> tuple[Rename, ...]:
    return (
        Rename(theirs + "linear_hidden.1.*", ours + "layers.0.*"),
        Rename(theirs + "linear_hidden.2.*", ours + "layers.1.*"),
        Rename(theirs + "linear_out.*", ours + "layers.3.*"),
    )


def _both_encoders(theirs: str, ours: str) -> tuple[Rename, ...]:
    """Swin, or DeiT, whose names do not meet."""
    vit = (
        Rename(line.theirs, line.ours.replace("encoder.", ours, 1)) for line in _online_vit(theirs)
    )
    swin = swin_encoder(theirs, ours)
    known = {line.theirs for line in swin}
    return (*swin, *(line for line in vit if line.theirs not in known))


MOBY = Format(
    name="moby",
    words="SwinTransformer/Transformer-SSL (MoBY), pretraining",
    wrapper="model",
    signature=(r"encoder_k\.", r"queue1$", r"projector_k\."),
    renames=(
        *_both_encoders("encoder.", "encoder."),
        *_both_encoders("encoder_k.", COPY + "encoder."),
        *_moby_mlp("projector.", TASK + "projector."),
        *_moby_mlp("projector_k.", COPY + "contrastive_projector."),
        *_moby_mlp("predictor.", TASK + "predictor."),
        Rename("queue1", TASK + "head.queue_0"),
        Rename("queue2", TASK + "head.queue_1"),
        Rename("queue_ptr", TASK + "head.pointer"),
    ),
    extras=(WINDOW_INDEX, SHIFT_MASK),
    fresh=COUNTERS,
    task=("contrastive", "Contrastive"),
    heads={384: 6, 768: 12},
)
