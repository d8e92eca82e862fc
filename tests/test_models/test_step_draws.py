"""What a step draws does not depend on what was drawn before: trainings go on bit-equal."""

from __future__ import annotations

import copy
import io
import random
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.registry import MODELS
from tests.test_models.test_distributed_methods import (
    L2,
    METHODS,
    MOCO_VIT,
    PIXELS,
    SIMCLR,
    VIT,
    make_batch,
    pretrainer,
)

DEPTHS = dict(drop_path=0.5)  # what is dropped shows in every step
STEPS = 4
PREDICTOR = dict(type="TokenPredictor", in_channels=32, out_channels=192)
BLOCKS = dict(type="BlockMasking", num_masked=8, exact=True, mode="replace", min_block=2)
REPLACED = {**VIT, "mask_token": True}
MULTITASK = dict(
    contrast={**SIMCLR, "token": "contrast"},
    rotation=dict(type="Rotation", in_channels=32, views=(0, 1), token="rotation"),
    jigsaw=dict(type="Jigsaw", in_channels=32, patches=4, cells=16, position="slot"),
    paint=dict(type="Inpainting", in_channels=32, patches=4, patch_size=8,
               modes=("noise", "other", "blur", "grey")),
)  # fmt: skip


def masked(masking: dict[str, Any]) -> dict[str, Any]:
    task = dict(type="MaskedModeling", masking=masking, neck=PREDICTOR, target=PIXELS, head=L2)
    return pretrainer(REPLACED, task)


CONFIGS: dict[str, Any] = {
    **METHODS,
    "beit": masked(BLOCKS),
    "sit": dict(
        type="Pretrainer", tasks=MULTITASK,
        encoder={**MOCO_VIT, "position": "learned", "prefix_tokens": ("contrast", "rotation")},
    ),
}  # fmt: skip


def dropping(name: str) -> dict[str, Any]:
    """The method with stochastic depth wherever it can have some."""
    config = copy.deepcopy(CONFIGS[name])
    config["encoder"].update(DEPTHS)
    for task in config["tasks"].values():
        for part in ("regressor", "decoder"):
            if part in task:
                task[part].update(DEPTHS, depth=2)
    return config


def build(name: str, seed: int) -> tuple[Pretrainer, torch.optim.Optimizer]:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        model: Any = MODELS.build(dropping(name))
    trained = [p for p in model.parameters() if p.requires_grad]
    return model.train(), torch.optim.AdamW(trained, lr=1e-2)


def advance(model: Pretrainer, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        model.iteration = step  # as StepSeedHook does
        losses = model(**model.data_preprocessor(make_batch(step, slice(0, 4)), True))
        terms = [value for name, value in losses.items() if name.startswith("loss")]
        optimizer.zero_grad()
        torch.stack(terms).sum().backward()
        optimizer.step()
        model.update_target((step + 1) / STEPS)


def interrupted_and_not(name: str, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """States after a training, and after one that was saved at a random iteration and loaded."""
    stop = random.Random(f"{name} {seed}").randrange(1, STEPS)
    whole = build(name, 0)
    advance(*whole, range(stop))
    saved = io.BytesIO()
    torch.save([part.state_dict() for part in whole], saved)
    advance(*whole, range(stop, STEPS))
    resumed = build(name, 1 + seed)  # the generators are elsewhere, and so were the weights
    for part, state in zip(resumed, torch.load(io.BytesIO(saved.getvalue())), strict=True):
        part.load_state_dict(state)
    advance(*resumed, range(stop, STEPS))
    return whole[0].state_dict(), resumed[0].state_dict()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(s, marks=pytest.mark.long) for s in range(1, 20))]
)
def test_an_interruption_changes_nothing(name: str, seed: int) -> None:
    whole, resumed = interrupted_and_not(name, seed)
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["dino", "cae", "moby-swin"])
def test_stochastic_depth_is_drawn_anew_each_step_and_leaves_the_generators_alone(
    name: str,
) -> None:
    model, _ = build(name, 0)
    before = torch.get_rng_state()

    def raw(step: int) -> list[float]:
        batch = make_batch(0, slice(0, 4))
        batch["samples"]["index"] = batch["samples"]["index"] + step
        losses = copy.deepcopy(model)(**model.data_preprocessor(batch, True))
        return [float(v) for k, v in losses.items() if k.startswith("raw")]

    assert raw(0) == raw(0) != raw(1)
    assert torch.equal(torch.get_rng_state(), before)
