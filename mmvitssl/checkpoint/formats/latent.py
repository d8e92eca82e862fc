"""Official checkpoints of iBOT, DINOv2's training and I-JEPA."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from mmvitssl.checkpoint.formats.base import (
    PLAIN_BLOCK,
    Extra,
    Format,
    Rename,
    State,
    plain_encoder,
)
from mmvitssl.checkpoint.formats.contrastive import COPY, COUNTERS
from mmvitssl.checkpoint.formats.gated import flat_blocks, gate_names, plain_names
from mmvitssl.checkpoint.formats.tokens import (
    FRONT,
    Grid,
    add_class_row,
    drop_class_row,
    join_tokens,
    split_tokens,
)
from mmvitssl.models.backbones.position import sincos_table

DISTILLATION, MASKED = "tasks.distillation.", "tasks.masked."
HEAD = ("mlp.*", "last_layer.*")
VIT = ("cls_token", "pos_embed", "mask_token", "patch_embed.proj.*", "norm.*", FRONT + "*")
BLOCK = (*PLAIN_BLOCK, "ls1.gamma", "ls2.gamma")
SINGLE = re.compile(r"(.*head\.mlp)\.(weight|bias)")
SHARED = "the last layer of class tokens, which patches share, a second time"


def _vit(front: str, ours: str = "encoder.") -> tuple[Rename, ...]:
    lines = plain_encoder(front, VIT, BLOCK)
    return tuple(Rename(line.theirs, line.ours.replace("encoder.", ours, 1)) for line in lines)


def per_front(state: State, fronts: tuple[str, ...], change: Callable[[State], State]) -> State:
    """Change the tensors of each front, whose names are given without it."""
    result = {key: tensor for key, tensor in state.items() if not key.startswith(fronts)}
    for front in fronts:
        part = {k[len(front) :]: v for k, v in state.items() if k.startswith(front)}
        result.update({front + key: tensor for key, tensor in change(part).items()})
    return result


def _number_mlp(state: State) -> State:
    """A head of one layer has no numbers in its names."""
    return {SINGLE.sub(r"\1.0.\2", key): tensor for key, tensor in state.items()}


def _single_mlp(state: State) -> State:
    """The inverse of :func:`_number_mlp`."""
    deep = {key.split(".mlp.")[0] for key in state if ".mlp.2." in key}
    return {
        key if key.split(".mlp.")[0] in deep else re.sub(r"(.*head\.mlp)\.0\.", r"\1.", key): tensor
        for key, tensor in state.items()
    }


# iBOT

GAMMA = re.compile(r"(.*blocks\.\d+)\.(gamma_|ls)([12])(\.gamma)?")


def _from_ibot(state: State, grid: Grid | None) -> tuple[State, dict[str, str]]:
    """Scales and mask token by timm's names; one last layer where both are the same."""
    state = _number_mlp(state)
    state = {GAMMA.sub(r"\1.ls\3.gamma", key): tensor for key, tensor in state.items()}
    token = state.pop("student.backbone.masked_embed")[:, None]
    state["student.backbone.mask_token"] = token
    state["teacher.backbone.mask_token"] = token.clone()  # which the teacher does not read
    if "ibot_loss.center2" in state:
        state["ibot_loss.center2"] = state["ibot_loss.center2"].flatten(0, 1)
    front = "student.head.last_layer"
    pairs = [(f"{front}.{part}", f"{front}2.{part}") for part in ("weight_g", "weight_v")]
    if all(b in state and torch.equal(state[a], state[b]) for a, b in pairs):
        copies = [key for key in state if ".head.last_layer2." in key]
        same = all(torch.equal(state[k], state[k.replace("layer2", "layer")]) for k in copies)
        if same:
            return {k: v for k, v in state.items() if k not in copies}, dict.fromkeys(
                copies, SHARED
            )
    return state, {}


def _to_ibot(state: State) -> State:
    """The inverse of :func:`_from_ibot`."""
    state = {
        re.sub(r"(.*blocks\.\d+)\.ls([12])\.gamma", r"\1.gamma_\2", key): tensor
        for key, tensor in _single_mlp(state).items()
    }
    state.pop("teacher.backbone.mask_token", None)
    if "student.backbone.mask_token" in state:
        state["student.backbone.masked_embed"] = state.pop("student.backbone.mask_token")[:, 0]
    if "ibot_loss.center2" in state:
        state["ibot_loss.center2"] = state["ibot_loss.center2"][None]
    for key in [key for key in state if ".head.last_layer." in key]:
        state.setdefault(key.replace("last_layer", "last_layer2"), state[key].clone())
    return state


IBOT = Format(
    name="ibot",
    words="bytedance/ibot, pretraining (student and teacher)",
    wrapper=None,
    nested=("student", "teacher", "ibot_loss"),
    signature=(r"student\.(module\.)?backbone\.masked_embed$",
               r"teacher\.(module\.)?backbone\.blocks\."),
    prefixes=(("student.module.", "student."), ("teacher.module.", "teacher.")),
    wrapped=(("student.module.", "student."),),
    renames=(
        *(Rename("student.head." + part, DISTILLATION + "projector." + part) for part in HEAD),
        Rename("student.head.last_layer2.*", DISTILLATION + "projector.patch_layer.*"),
        *_vit("student.backbone."),
        *(Rename("teacher.head." + part, COPY + "distillation_projector." + part)
          for part in HEAD),
        Rename("teacher.head.last_layer2.*", COPY + "distillation_projector.patch_layer.*"),
        *_vit("teacher.backbone.", COPY + "encoder."),
        Rename("ibot_loss.center", DISTILLATION + "head.center"),
        Rename("ibot_loss.center2", MASKED + "target.center"),
    ),
    before=_from_ibot,
    after=_to_ibot,
    fresh=COUNTERS,
    task=("distillation", "SelfDistillation"),
    heads={384: 6, 768: 12, 1024: 16},
)  # fmt: skip


# DINOv2's training

DINOV2_FRONTS = ("student.backbone.", "teacher.backbone.")
PATCH_CENTER = "ibot_patch_loss.center"


def _from_dinov2(state: State, grid: Grid | None) -> tuple[State, dict[str, str]]:
    """Registers as named tokens, mask token (1, 1, C), blocks without chunks, timm's MLPs."""

    def change(part: State) -> State:
        part = split_tokens(plain_names(flat_blocks(part)), grid, ("register_tokens",))[0]
        part["mask_token"] = part["mask_token"][:, None]
        return part

    state = per_front(_number_mlp(state), DINOV2_FRONTS, change)
    if PATCH_CENTER in state:
        state[PATCH_CENTER] = state[PATCH_CENTER].flatten(0, 1)
    return state, {}


def _to_dinov2(state: State) -> State:
    """The inverse of :func:`_from_dinov2`; blocks stay without chunks."""

    def change(part: State) -> State:
        part = gate_names(join_tokens(part, "register_tokens"))
        return {k: v[:, 0] if k == "mask_token" else v for k, v in part.items()}

    state = per_front(_single_mlp(state), DINOV2_FRONTS, change)
    if PATCH_CENTER in state:
        state[PATCH_CENTER] = state[PATCH_CENTER][None]
    return state


DINOV2_TRAINING = Format(
    name="dinov2-training",
    words="facebookresearch/dinov2, training (student and teacher)",
    wrapper=None,
    nested=("student", "teacher", "dino_loss", "ibot_patch_loss"),
    signature=(r"student\.backbone\.mask_token$", r"teacher\.dino_head\."),
    renames=(
        *(Rename("student.dino_head." + part, DISTILLATION + "projector." + part)
          for part in HEAD),
        *(Rename("student.ibot_head." + part, MASKED + "neck.projector." + part)
          for part in HEAD),
        *_vit("student.backbone."),
        *(Rename("teacher.dino_head." + part, COPY + "distillation_projector." + part)
          for part in HEAD),
        *(Rename("teacher.ibot_head." + part, COPY + "masked_projector." + part)
          for part in HEAD),
        *_vit("teacher.backbone.", COPY + "encoder."),
        Rename("dino_loss.center", DISTILLATION + "head.center"),
        Rename(PATCH_CENTER, MASKED + "target.center"),
    ),
    before=_from_dinov2,
    after=_to_dinov2,
    fresh=COUNTERS,
    task=("distillation", "SelfDistillation"),
    heads={384: 6, 768: 12, 1024: 16, 1536: 24},
)  # fmt: skip


# I-JEPA

IJEPA_FRONTS = ("encoder.", "target_encoder.")
NECK = MASKED + "neck."


def _from_ijepa(state: State, grid: Grid | None) -> tuple[State, dict[str, str]]:
    return per_front(state, IJEPA_FRONTS, add_class_row), {}


def _to_ijepa(state: State) -> State:
    return per_front(state, IJEPA_FRONTS, drop_class_row)


def _predictor_table(theirs: State, image_size: int) -> State:
    """The predictor's fixed table, which is computed here."""
    side = image_size // theirs["encoder.patch_embed.proj.weight"].shape[-1]
    width = theirs["predictor.mask_token"].shape[-1]
    table: Tensor = sincos_table((side, side), width, "sincos_column_first")
    return {"predictor.predictor_pos_embed": table[:, 1:].clone()}


IJEPA = Format(
    name="ijepa",
    words="facebookresearch/ijepa, pretraining (encoder, target encoder and predictor)",
    wrapper=None,
    nested=("encoder", "predictor", "target_encoder"),
    signature=(r"target_encoder\.", r"predictor\.(module\.)?predictor_embed\."),
    prefixes=tuple((f"{front}.module.", f"{front}.")
                   for front in ("encoder", "predictor", "target_encoder")),
    wrapped=tuple((f"{front}.module.", f"{front}.")
                  for front in ("encoder", "predictor", "target_encoder")),
    renames=(
        Rename("predictor.mask_token", NECK + "mask_token"),
        Rename("predictor.predictor_embed.*", NECK + "embed.*"),
        Rename("predictor.predictor_blocks.{i}.*", NECK + "blocks.{i}.*"),
        Rename("predictor.predictor_norm.*", NECK + "norm.*"),
        Rename("predictor.predictor_proj.*", NECK + "pred.*"),
        *_vit("encoder."),
        *_vit("target_encoder.", COPY + "encoder."),
    ),
    extras=(Extra(r"predictor\.predictor_pos_embed",
                  "the predictor's fixed position table is computed here", _predictor_table),),
    before=_from_ijepa,
    after=_to_ijepa,
    fresh=COUNTERS,
    task=("masked", "MaskedModeling"),
    heads={768: 12, 1024: 16, 1280: 16, 1408: 16},
)  # fmt: skip
