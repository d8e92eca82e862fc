"""MAE, LoMaR and CAE: our config-built models with official weights and masks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmvitssl.models.masking import GivenMasking
from mmvitssl.models.targets import PixelTarget
from mmvitssl.structures import TokenPlan
from parity.build import ConfigOf, build, start, vit_config
from parity.fixture import Fixture


def _patch_values(fixture: Fixture) -> int:
    return 3 * fixture.size("patch_size") ** 2


def mae_config(fixture: Fixture) -> dict[str, Any]:
    """MAE of the fixture's sizes."""
    patch, width = fixture.size("patch_size"), fixture.size("embed_dim")
    neck = dict(
        type="MAEDecoder",
        in_channels=width,
        out_channels=_patch_values(fixture),
        width=fixture.size("decoder_embed_dim"),
        depth=fixture.size("decoder_depth"),
        num_heads=fixture.size("decoder_num_heads"),
        grid=fixture.size("img_size") // patch,
    )
    task = dict(
        type="MaskedModeling",
        masking=dict(type="RandomMasking", ratio=fixture.size("mask_ratio")),
        neck=neck,
        target=dict(type="PixelTarget", patch_size=patch),
        head=dict(type="PixelLoss", distance="l2"),
    )
    encoder = vit_config(fixture, position="sincos_column_first")
    return dict(type="Pretrainer", encoder=encoder, tasks=dict(masked=task))


def compare_mae(fixture: Fixture) -> dict[str, Tensor]:
    """Latents, predictions of all patches, and both losses."""
    model = build(fixture, CONFIGS[fixture.size("method")])
    masked = model.tasks["masked"]
    order = fixture["ids_restore"].argsort(dim=1)
    keep = int((fixture["mask"][0] == 0).sum())
    plan = TokenPlan(tokens=order[:, :keep], dropped=order[:, keep:])
    masked.masking = GivenMasking(plan)
    step = start(model, [fixture["image"]])
    encoded = step.encode(0, masked.masks(step)[0])
    losses = {}
    for name, normalise in (("loss_norm_pix", True), ("loss_raw_pix", False)):
        masked.target = PixelTarget(fixture.size("patch_size"), normalise)
        losses[name] = masked.loss(step).loss
    latent = torch.cat([encoded.cls[:, None], encoded.patches], dim=1)
    return {"latent": latent, "pred": masked.neck.predict_all(encoded), **losses}


def lomar_config(fixture: Fixture) -> dict[str, Any]:
    """LoMaR of the fixture's sizes."""
    patch, width = fixture.size("patch_size"), fixture.size("embed_dim")
    task = dict(
        type="MaskedModeling",
        masking=dict(
            type="WindowMasking",
            window=fixture.size("window_size"),
            views=fixture.size("num_window"),
            ratio=fixture.size("mask_ratio"),
        ),
        neck=dict(type="TokenPredictor", in_channels=width, out_channels=_patch_values(fixture)),
        target=dict(type="PixelTarget", patch_size=patch),
        head=dict(type="PixelLoss", distance="l2"),
    )
    encoder = vit_config(fixture, position="none", relative_position="irpe", mask_token=True)
    return dict(type="Pretrainer", encoder=encoder, tasks=dict(masked=task))


def compare_lomar(fixture: Fixture) -> dict[str, Tensor]:
    """Predictions of all tokens of all windows, and the loss."""
    model, window = build(fixture, CONFIGS[fixture.size("method")]), fixture.size("window_size")
    masked = model.tasks["masked"]
    plan = TokenPlan(
        image_index=fixture["image_of_row"],
        tokens=fixture["patch_indices"],
        masked=fixture["masked"],
        window=(window, window),
    )
    masked.masking = GivenMasking(plan)
    step = start(model, [fixture["image"]])
    encoded = step.encode(0, masked.masks(step)[0])
    return {"pred": masked.neck.layers(encoded.patches), "loss": masked.loss(step).loss}


def cae_config(fixture: Fixture) -> dict[str, Any]:
    """CAE of the fixture's sizes."""
    width, inner = fixture.size("embed_dim"), fixture.size("decoder_embed_dim")
    scale = fixture.size("layer_scale")
    shared = dict(
        width=inner, num_heads=fixture.size("decoder_num_heads"), drop_path=0.0, layer_scale=scale
    )
    number = int(fixture["mask"][0].sum())
    projection = dict(type="LatentProjection", in_channels=width, out_channels=inner)
    vocabulary = fixture.size("vocab")
    task = dict(
        type="ContextAutoencoding",
        masking=dict(type="BlockMasking", num_masked=number, exact=True, mode="drop"),
        regressor=dict(type="ContextRegressor", depth=fixture.size("regressor_depth"), **shared),
        decoder=dict(
            type="ContextDecoder",
            out_channels=vocabulary,
            depth=fixture.size("decoder_depth"),
            **shared,
        ),
        target=dict(type="TokenTarget", vocabulary=vocabulary),
        head=dict(type="TokenLoss"),
        align_weight=fixture.size("align_weight"),
        projection=None if inner == width else projection,
    )
    encoder = vit_config(fixture, position="sincos_row_first", qkv_bias="qv", layer_scale=scale)
    return dict(type="Pretrainer", encoder=encoder, tasks=dict(context=task))


def compare_cae(fixture: Fixture) -> dict[str, Tensor]:
    """Logits, predicted and target latents, and the three losses."""
    model, number = build(fixture, CONFIGS[fixture.size("method")]), int(fixture["mask"][0].sum())
    context = model.tasks["context"]
    order = fixture["mask"].byte().argsort(dim=1, stable=True)
    plan = TokenPlan(tokens=order[:, :-number], dropped=order[:, -number:])
    context.masking = GivenMasking(plan)
    step = start(model, [fixture["image"]])
    step.once(context.target, "ids", lambda: fixture["tokens"])
    latents = context.predict_latents(step)
    result = context.loss(step)
    return {
        "logits": context.decode(step, latents),
        "latent_pred": latents,
        "latent_target": context.target_latents(step),
        "loss_token": result.metrics["reconstruction"],
        "loss_align": result.metrics["alignment"],
        "loss": result.loss,
    }


CONFIGS: dict[str, ConfigOf] = {
    "mae": mae_config,
    "lomar": lomar_config,
    "cae": cae_config,
}
