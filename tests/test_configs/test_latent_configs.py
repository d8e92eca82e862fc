"""Full-size configs of the methods that predict latents: sizes and settings are the published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from mmvitssl.engine.config_files import read_config
from mmvitssl.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
IBOT = "ibot/ibot_vit-{}_16xb64-cosine-{}_in1k.py"
DINOV2 = "dinov2/dinov2_vit-large_32xb64-cosine-125k_in1k.py"
REGISTERS = "dinov2/dinov2-reg4_vit-large-p14_96xb32-cosine-625k_in22k.py"
IJEPA = "ijepa/ijepa_vit-{}_16xb128-cosine-{}_in1k.py"
# parameters of the encoder and of the tasks; those of I-JEPA's fixed tables are not counted
COUNTS = {
    IBOT.format("small", "800e"): (21_666_048, 7_614_720),
    IBOT.format("small_separate-heads", "800e").replace("_16x", "-16x"): (
        21_666_048,
        7_614_720 + 2_105_344,
    ),
    IBOT.format("base", "400e"): (85_799_424, 8_401_152),
    IBOT.format("large", "250e"): (303_302_656, 8_925_440),
    DINOV2: (303_351_808, 23_662_848),
    IJEPA.format("base", "600e"): (85_646_592, 11_238_912),
    IJEPA.format("large", "600e"): (303_098_880, 22_082_560),
    IJEPA.format("huge-p14", "300e"): (630_434_560, 22_279_424),
}


def build(path: str) -> tuple[Any, Any]:
    config = read_config(str(CONFIGS / path))
    with torch.device("meta"):
        return config, MODELS.build(config.model)


@pytest.mark.parametrize(
    "path",
    [p if "small" in p or "huge" in p else pytest.param(p, marks=pytest.mark.long) for p in COUNTS],
)
def test_models_have_the_published_numbers_of_parameters(path: str) -> None:
    model = build(path)[1]
    fixed = model.encoder.pos_embed.numel() if "ijepa" in path else 0
    encoder = sum(p.numel() for p in model.encoder.parameters()) - fixed
    assert (encoder, sum(p.numel() for p in model.tasks.parameters())) == COUNTS[path]


def test_dinov2_decays_rates_from_layer_to_layer_and_clips_parts() -> None:
    config, model = build(REGISTERS)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    assert {g["part"] for g in wrapper.optimizer.param_groups} == {
        "encoder", "tasks.distillation", "tasks.masked"
    }  # fmt: skip
    config = read_config(str(CONFIGS / DINOV2))
    config.model.encoder.arch = dict(embed_dim=64, depth=12, num_heads=2)
    config.model.tasks.distillation.projector.prototypes = 8
    model = MODELS.build(config.model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    names = {id(p): name for name, p in model.named_parameters()}
    rates, decays = {}, {}
    for group in wrapper.optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            rates[name], decays[name] = group["lr"] / 5.657e-3, group["weight_decay"]
    for name, rate in (
        ("encoder.blocks.0.attn.qkv.weight", 0.2824), ("encoder.cls_token", 0.2542),
        ("encoder.mask_token", 0.2542), ("encoder.patch_embed.proj.weight", 0.0508),
        ("encoder.norm.weight", 1.0), ("tasks.distillation.projector.mlp.0.weight", 1.0),
    ):  # fmt: skip
        assert rates[name] == pytest.approx(rate, abs=1e-4), name
    free = [name for name, decay in decays.items() if not decay]
    assert all(name.endswith(".bias") or "norm" in name or "gamma" in name for name in free)
    decayed = ("encoder.cls_token", "encoder.pos_embed", "encoder.mask_token",
               "tasks.distillation.projector.last_layer.weight_g")  # fmt: skip
    assert all(decays[name] == 0.04 for name in decayed)


def test_published_settings_of_ibot_and_ijepa() -> None:
    config = read_config(str(CONFIGS / IBOT.format("small", "800e")))
    masked, head = config.model.tasks.masked, config.model.tasks.distillation.head
    assert (masked.masking.ratios, masked.masking.variances) == ((0.0, 0.3), (0.0, 0.2))
    assert (masked.target.center_over, masked.average) == ("all", "images")
    assert (head.teacher_temperature, head.warmup_epochs) == (0.07, 30)
    assert config.model.tasks.distillation.projector.prototypes == 8192
    assert config.optim_wrapper.clip_each == 3.0 and config.optim_wrapper.optimizer.lr == 2e-3
    crops = config.train_dataloader.dataset.pipeline[1].views
    assert [view.transforms[0].scale for view in crops] == [(0.25, 1.0)] * 2 + [(0.05, 0.25)]
    config = read_config(str(CONFIGS / IJEPA.format("huge-p14", "300e")))
    assert config.model.target.schedule == "linear" and config.model.target.momentum == 0.996
    warm, falling = config.param_scheduler
    assert (warm.start_factor * config.optim_wrapper.optimizer.lr, warm.end) == (2e-4, 40)
    assert (falling.eta_min, falling.end) == (1e-6, 300)
