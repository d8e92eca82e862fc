"""MAE, LoMaR and CAE: our config-built models with official weights and masks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmvitssl.models.masking import GivenMasking
from mmvitssl.models.targets import PixelTarget
from mmvitssl.structures import TokenPlan
from parity.build import ConfigOf, build, shipped_config, start
from parity.fixture import Fixture


def mae_config(fixture: Fixture) -> Any:
    """MAE at the fixture's sizes."""
    return shipped_config(
        fixture,
        "mae/mae_vit-base_64xb64-cosine-800e_in1k.py",
        tasks__masked__masking__ratio=fixture.size("mask_ratio"),
        tasks__masked__neck__width=fixture.size("decoder_embed_dim"),
        tasks__masked__neck__depth=fixture.size("decoder_depth"),
        tasks__masked__neck__num_heads=fixture.size("decoder_num_heads"),
    )


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


def lomar_config(fixture: Fixture) -> Any:
    """LoMaR at the fixture's sizes."""
    return shipped_config(
        fixture,
        "lomar/lomar_vit-base_4xb256-cosine-400e_in1k.py",
        tasks__masked__masking__window=fixture.size("window_size"),
        tasks__masked__masking__views=fixture.size("num_window"),
        tasks__masked__masking__ratio=fixture.size("mask_ratio"),
    )


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


def cae_config(fixture: Fixture) -> Any:
    """CAE at the fixture's sizes."""
    scale, heads = fixture.size("layer_scale"), fixture.size("decoder_num_heads")
    options: dict[str, Any] = {"encoder__layer_scale": scale}
    for part in ("regressor", "decoder"):
        place = f"tasks__context__{part}__"
        options[place + "depth"] = fixture.size(f"{part}_depth")
        options |= {place + "layer_scale": scale, place + "num_heads": heads}
    return shipped_config(
        fixture,
        "cae/cae_vit-base_32xb64-cosine-300e_in1k.py",
        tasks__context__regressor__width=fixture.size("decoder_embed_dim"),
        tasks__context__target__vocabulary=fixture.size("vocab"),
        tasks__context__align_weight=fixture.size("align_weight"),
        **options,
    )


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
