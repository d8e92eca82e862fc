"""Layer-wise learning-rate decay against its closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn

from mmvitssl.models.backbones import DenseFeatures
from tests.builders import ENCODER, build_repre

LR, DECAY, RATE = 2.0, 0.05, 0.5
DEPTH = 4


class Detector(nn.Module):
    """A backbone with something after it, as detectors have."""

    def __init__(self, **encoder: Any) -> None:
        super().__init__()
        self.backbone = DenseFeatures({**ENCODER, "position": "learned", **encoder}, (1, 3))
        self.neck = nn.Conv2d(32, 8, 1)


def build(model: nn.Module, **paramwise: Any) -> OptimWrapper:
    return build_optim_wrapper(
        model,
        dict(
            constructor="LayerDecayOptimWrapperConstructor",
            optimizer=dict(type="AdamW", lr=LR, weight_decay=DECAY),
            paramwise_cfg=paramwise,
        ),
    )


def settings(model: nn.Module, wrapper: OptimWrapper) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay by parameter name; each parameter must be there once."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, tuple[float, float]] = {}
    for group in wrapper.optimizer.param_groups:
        for parameter in group["params"]:
            assert names[id(parameter)] not in found
            found[names[id(parameter)]] = (group["lr"], group["weight_decay"])
    return found


def test_factors_follow_the_published_rule() -> None:
    model = Detector(freeze_patch_embed=False)
    found = settings(model, build(model, decay_rate=RATE))
    encoder = "backbone.encoder."
    for name in ("cls_token", "pos_embed", "patch_embed.proj.weight"):
        assert found[encoder + name] == (LR * RATE ** (DEPTH + 1), DECAY)
    for block in range(DEPTH):
        weight = found[f"{encoder}blocks.{block}.attn.qkv.weight"]
        assert weight == (LR * RATE ** (DEPTH + 1 - (block + 1)), DECAY)
        bias = found[f"{encoder}blocks.{block}.attn.qkv.bias"]
        assert bias == (weight[0], 0.0)
    assert found["neck.weight"] == (LR, DECAY)
    assert found["neck.bias"] == (LR, 0.0)


def test_frozen_parameters_have_no_group() -> None:
    model = Detector()
    found = settings(model, build(model, decay_rate=RATE))
    wanted = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert set(found) == wanted
    assert not any("patch_embed" in name or ".norm." in name for name in found)


def test_no_decay_and_custom_keys() -> None:
    model = Detector()
    found = settings(
        model,
        build(
            model,
            decay_rate=RATE,
            no_decay=("pos_embed",),
            custom_keys={"neck": dict(lr_mult=10.0), "neck.bias": dict(lr_mult=0.1)},
        ),
    )
    assert found["backbone.encoder.pos_embed"][1] == 0.0
    assert found["backbone.encoder.cls_token"][1] == DECAY
    assert found["neck.weight"][0] == 10 * LR
    assert found["neck.bias"][0] == pytest.approx(0.1 * LR)


def test_biases_are_decayed_if_asked_for() -> None:
    model = Detector()
    found = settings(model, build(model, decay_rate=RATE, one_dimensional_decay=True))
    assert {decay for _, decay in found.values()} == {DECAY}


def test_a_pretrainers_encoder_is_known_too() -> None:
    model = build_repre()
    found = settings(model, build(model, decay_rate=RATE))
    assert found["encoder.blocks.3.mlp.fc1.weight"][0] == LR * RATE
    assert found["encoder.norm.weight"][0] == LR
    assert not any(name.startswith("target.") for name in found)


def test_the_rates_reach_the_update() -> None:
    model = Detector(freeze_patch_embed=False)
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor="LayerDecayOptimWrapperConstructor",
            optimizer=dict(type="SGD", lr=LR, weight_decay=0.0),
            paramwise_cfg=dict(decay_rate=RATE),
        ),
    )
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    wrapper.step()
    moved = {name: before[name] - value for name, value in model.named_parameters()}
    block = moved["backbone.encoder.blocks.0.attn.qkv.weight"]
    torch.testing.assert_close(block, torch.full_like(block, LR * RATE**DEPTH))
    torch.testing.assert_close(moved["neck.bias"], torch.full((8,), LR))


def test_mistakes_are_errors() -> None:
    model = Detector()
    with pytest.raises(ValueError, match=r"unknown keys \['layer_decay'\].*decay_rate"):
        build(model, layer_decay=RATE)
    for rate in (0.0, 1.5):
        with pytest.raises(ValueError, match=r"must lie in \(0, 1\]"):
            build(model, decay_rate=rate)
    with pytest.raises(ValueError, match="Linear has none"):
        build(nn.Linear(2, 2), decay_rate=RATE)
