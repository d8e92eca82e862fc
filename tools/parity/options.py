"""The options that make a shipped config as small as a recorded training of its method."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mmvitssl.checkpoint.formats import Imported
from mmvitssl.structures import TokenPlan
from parity.fixture import Fixture

Changes = dict[str, Any]
SCALE, OUR_SCALE = re.compile(r"gamma_([12])$"), re.compile(r"ls([12])\.gamma$")
COPY = "target.modules_by_name.encoder."


def _nothing(fixture: Fixture) -> Changes:
    return {}


def _as_imported(fixture: Fixture, imported: Imported) -> Imported:
    return imported


def _nothing_more(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {}


@dataclass(frozen=True)
class Options:
    """How a shipped config becomes a recorded training.

    Attributes:
        config: the shipped config.
        changes: options of the config, by fixture.
        views: the batches, a list of views per step.
        task: name of the task that draws masks.
        plans: the recorded masks, one plan per step; None: the method draws none.
        mode: what the plans do with masked patches.
        whole_warmup: whether the official code rounds the warm-up down to whole steps.
        hooks: which hooks of the config run, and their options.
        imported: completes the imported state.
        exported: official tensors that the export of a state with our names leaves out.
    """

    config: str
    changes: Callable[[Fixture], Changes]
    views: Callable[[Fixture], list[list[Tensor]]]
    task: str = "masked"
    plans: Callable[[Fixture], list[TokenPlan]] | None = None
    mode: str = "drop"
    whole_warmup: bool = False
    hooks: Mapping[str, Callable[[Fixture], Changes]] = field(default_factory=dict)
    imported: Callable[[Fixture, Imported], Imported] = _as_imported
    exported: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = _nothing_more


def _vit(fixture: Fixture) -> Changes:
    sizes = {name: fixture.size(name) for name in ("embed_dim", "depth", "num_heads")}
    return {
        "model.encoder.arch": dict(_delete_=True, **sizes),
        "model.encoder.patch_size": fixture.size("patch_size"),
        "model.encoder.mlp_ratio": fixture.meta.get("mlp_ratio", 4),
        "model.encoder.norm_eps": fixture.meta.get("norm_eps", 1e-6),
        "model.encoder.drop_path": fixture.meta.get("drop_path", 0.0),
    }


def _images(fixture: Fixture) -> list[list[Tensor]]:
    return [[images] for images in fixture["step_images"]]


def _two_views(fixture: Fixture) -> list[list[Tensor]]:
    return [list(pair) for pair in zip(fixture["step_view1"], fixture["step_view2"], strict=True)]


def _clip(fixture: Fixture) -> Changes:
    """Clipping of all parameters together, or of each."""
    limit = fixture.meta.get("clip_grad")
    each = limit if "each" in fixture.meta.get("clip", "") else None
    together = None if limit is None or each else dict(max_norm=limit)
    return {"optim_wrapper.clip_each": each, "optim_wrapper.clip_grad": together}


def _pixels(fixture: Fixture) -> Changes:
    return {
        "model.tasks.masked.masking.ratio": fixture.size("mask_ratio"),
        "model.tasks.masked.target.normalise": fixture.size("norm_pix_loss"),
        **_vit(fixture),
        **_clip(fixture),
    }


def _mae(fixture: Fixture) -> Changes:
    return {
        **_pixels(fixture),
        "model.tasks.masked.neck.width": fixture.size("decoder_embed_dim"),
        "model.tasks.masked.neck.depth": fixture.size("decoder_depth"),
        "model.tasks.masked.neck.num_heads": fixture.size("decoder_num_heads"),
        "model.tasks.masked.neck.mlp_ratio": fixture.meta.get("mlp_ratio", 4),
    }


def _mae_plans(fixture: Fixture) -> list[TokenPlan]:
    orders = fixture["step_ids_restore"].argsort(dim=2)
    keep = int((fixture["step_mask"][0, 0] == 0).sum())
    return [TokenPlan(tokens=order[:, :keep], dropped=order[:, keep:]) for order in orders]


def _lomar(fixture: Fixture) -> Changes:
    return {
        **_pixels(fixture),
        "model.tasks.masked.masking.window": fixture.size("window_size"),
        "model.tasks.masked.masking.views": fixture.size("num_window"),
    }


def _lomar_plans(fixture: Fixture) -> list[TokenPlan]:
    side = fixture.size("window_size")
    return [
        TokenPlan(image_index=fixture["image_of_row"], tokens=tokens, masked=masked,
                  window=(side, side))
        for tokens, masked in zip(
            fixture["step_patch_indices"], fixture["step_masked"], strict=True)
    ]  # fmt: skip


def _cae(fixture: Fixture) -> Changes:
    inner, width = fixture.size("decoder_embed_dim"), fixture.size("embed_dim")
    ends = dict(
        width=inner,
        num_heads=fixture.size("decoder_num_heads"),
        drop_path=0.0,
        mlp_ratio=fixture.meta.get("mlp_ratio", 4),
        layer_scale=fixture.meta.get("decoder_layer_scale", fixture.size("layer_scale")),
    )
    changes = {f"model.tasks.context.{part}.{key}": value
               for part in ("regressor", "decoder") for key, value in ends.items()}  # fmt: skip
    if inner != width:
        changes["model.tasks.context.projection"] = dict(
            type="LatentProjection", in_channels=width, out_channels=inner
        )
    return {
        **_vit(fixture),
        **_clip(fixture),
        **changes,
        "model.encoder.layer_scale": fixture.size("layer_scale"),
        # the first release's aligning copy, which is one step late
        "model.target": dict(
            momentum=fixture.size("base_momentum"), schedule="constant", when="after_forward"
        ),
        "model.tasks.context.masking.ratio": None,
        "model.tasks.context.masking.num_masked": fixture.size("masked_patches"),
        "model.tasks.context.regressor.depth": fixture.size("regressor_depth"),
        "model.tasks.context.decoder.depth": fixture.size("decoder_depth"),
        "model.tasks.context.target.vocabulary": fixture.size("vocab"),
        "model.tasks.context.align_weight": fixture.size("align_weight"),
        "custom_hooks": [
            dict(type="MomentumUpdateHook"),
            dict(type="WeightDecayHook", end=fixture.size("weight_decay_end")),
        ],
    }


def _cae_plans(fixture: Fixture) -> list[TokenPlan]:
    number = fixture.size("masked_patches")
    orders = fixture["step_mask"].byte().argsort(dim=2, stable=True)
    return [TokenPlan(tokens=order[:, :-number], dropped=order[:, -number:]) for order in orders]


def _with_teacher(fixture: Fixture, imported: Imported) -> Imported:
    """The official copy of the encoder, which our exports of CAE leave out, as the target."""
    state = dict(imported.state)
    for key, tensor in fixture.state.items():
        if key.startswith("teacher."):
            state[COPY + SCALE.sub(r"ls\1.gamma", key.removeprefix("teacher."))] = tensor
    state["target.updates"] = torch.zeros((), dtype=torch.long)
    state["target.last_momentum"] = torch.zeros(())
    return replace(imported, state=state, carried={})


def _teacher(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The target under the official names of that copy."""
    return {
        "teacher." + OUR_SCALE.sub(r"gamma_\1", key.removeprefix(COPY)): tensor
        for key, tensor in state.items()
        if key.startswith(COPY)
    }


def _mocov3(fixture: Fixture) -> Changes:
    hidden, out = fixture.size("mlp_dim"), fixture.size("dim")
    contrastive = "model.tasks.contrastive"
    return {
        **_vit(fixture),
        **_clip(fixture),
        "model.encoder.freeze_patch_embed": fixture.size("stop_grad_conv1"),
        "model.target.momentum": fixture.size("momentum_base"),
        "model.target.schedule": "cosine" if fixture.size("momentum_cos") else "constant",
        f"{contrastive}.projector.hidden_channels": hidden,
        f"{contrastive}.projector.out_channels": out,
        f"{contrastive}.predictor.hidden_channels": hidden,
        f"{contrastive}.predictor.out_channels": out,
        f"{contrastive}.head.temperature": fixture.size("T"),
        f"{contrastive}.head.scale": 2 * fixture.size("T"),
    }


def _dino_views(fixture: Fixture) -> list[list[Tensor]]:
    local = fixture.arrays.get("step_local_crops")
    return [
        [*crops, *([] if local is None else local[step])]
        for step, crops in enumerate(fixture["step_global_crops"])
    ]


def _dino(fixture: Fixture) -> Changes:
    number, local = fixture.size("n_global"), fixture.size("n_local")
    task = "model.tasks.distillation"
    return {
        **_vit(fixture),
        **_clip(fixture),
        "model.target.momentum": fixture.size("momentum_teacher"),
        "model.target.end": fixture.size("momentum_end"),
        f"{task}.global_views": tuple(range(number)),
        f"{task}.local_views": tuple(range(number, number + local)),
        f"{task}.projector.prototypes": fixture.size("out_dim"),
        f"{task}.projector.hidden_channels": fixture.size("hidden_dim"),
        f"{task}.projector.bottleneck": fixture.size("bottleneck_dim"),
        f"{task}.projector.num_layers": fixture.size("head_nlayers"),
        f"{task}.projector.norm": fixture.size("use_bn_in_head"),
        f"{task}.projector.fixed_lengths": fixture.size("norm_last_layer"),
        f"{task}.head.student_temperature": fixture.size("student_temp"),
        f"{task}.head.teacher_temperature": fixture.size("teacher_temp"),
        f"{task}.head.warmup_temperature": fixture.size("warmup_teacher_temp"),
        f"{task}.head.warmup_epochs": fixture.size("warmup_teacher_temp_epochs"),
        f"{task}.head.center_momentum": fixture.size("center_momentum"),
    }


def _moby(fixture: Fixture) -> Changes:
    task = "model.tasks.contrastive"
    arch = {name: fixture.size(name) for name in ("embed_dim", "depths", "num_heads")}
    out, length = fixture.state["queue1"].shape
    return {
        **_clip(fixture),
        "model.encoder.arch": dict(_delete_=True, **arch),
        "model.encoder.window_size": fixture.size("window_size"),
        "model.encoder.drop_path": fixture.meta.get("drop_path", 0.0),
        "model.target.momentum": fixture.size("momentum_base"),
        f"{task}.projector.hidden_channels": fixture.size("mlp_dim"),
        f"{task}.projector.out_channels": out,
        f"{task}.predictor.hidden_channels": fixture.size("mlp_dim"),
        f"{task}.head.size": length,
        f"{task}.head.temperature": fixture.size("temperature"),
    }


MOMENTUM = {"MomentumUpdateHook": _nothing}
OPTIONS: dict[str, Options] = {
    "mae": Options("mae/mae_vit-base_64xb64-cosine-800e_in1k.py", _mae, _images, plans=_mae_plans),
    "lomar": Options(
        "lomar/lomar_vit-base_published-windows-4xb256-cosine-400e_in1k.py", _lomar, _images,
        plans=_lomar_plans, mode="replace"),
    "cae": Options(
        "cae/cae_vit-base_32xb64-cosine-300e_in1k.py", _cae, _images, task="context",
        plans=_cae_plans, whole_warmup=True, hooks={**MOMENTUM, "WeightDecayHook": _nothing},
        imported=_with_teacher, exported=_teacher),
    "mocov3": Options(
        "mocov3/mocov3_vit-small_32xb128-cosine-300e_in1k.py", _mocov3, _two_views,
        hooks=MOMENTUM),
    "dino": Options(
        "dino/dino_vit-small_8xb128-cosine-100e_in1k.py", _dino, _dino_views, whole_warmup=True,
        hooks={
            **MOMENTUM,
            "WeightDecayHook": lambda fixture: dict(end=fixture.size("weight_decay_end")),
            "FreezeHook": lambda fixture: dict(epochs=fixture.size("freeze_last_layer")),
        }),
    "moby": Options(
        "moby/moby_swin-tiny_8xb64-cosine-300e_in1k.py", _moby, _two_views, hooks=MOMENTUM),
}  # fmt: skip
