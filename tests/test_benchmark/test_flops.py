"""The count of operations against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.flops import count_flops
from mmvitssl.models.backbones import ViT
from tests.test_benchmark.small import tiny_bench


def test_vit_b_has_its_published_count() -> None:
    """ViT-B/16 at 224: 17.6 G multiply-adds (timm's table says 17.58, head included)."""
    model, image = ViT("base").eval(), torch.zeros(1, 3, 224, 224)
    with torch.no_grad():
        total = count_flops(lambda: model(image))
    width, tokens = 768, 197
    block = 12 * width**2 * tokens + 2 * width * tokens**2
    assert total == 2 * (12 * block + 196 * 768 * width)
    assert total / 2e9 == pytest.approx(17.58, rel=0.001)


def test_recomputation_of_checkpointing_is_counted_apart() -> None:
    plain, checkpointed = tiny_bench("mocov3"), tiny_bench("mocov3")
    checkpointed.model.encoder.gradient_checkpointing = True
    without, found = plain.flops(), checkpointed.flops()
    assert without.recomputed == 0 and found.total == without.total
    assert checkpointed.model.encoder.gradient_checkpointing
    images = torch.zeros(1, 3, *checkpointed.batch["views"][0].shape[-2:])
    encoder = checkpointed.model.encoder.train()
    with torch.no_grad():
        forward = count_flops(lambda: encoder(images))
        embedded = count_flops(lambda: encoder.embed(images))
    # recomputation of a block stops at what its last layer has kept: its second product of the MLP
    views = sum(len(view) for view in checkpointed.batch["views"])
    spec, tokens = encoder.spec, 1 + spec_tokens(encoder)
    last = spec.depth * 2 * tokens * 4 * spec.embed_dim**2
    assert found.recomputed == views * (forward - embedded - last)


def spec_tokens(encoder: ViT) -> int:
    return encoder.spec.grid[0] * encoder.spec.grid[1]


def test_compiled_steps_have_the_count_of_eager_ones() -> None:
    eager, compiled = tiny_bench("mae"), tiny_bench("mae", compile=True)
    assert compiled.flops().total == eager.flops().total


def test_a_momentum_branch_costs_its_forward_only() -> None:
    """BYOL: all that has a gradient, and the encoder and projector once more without."""
    bench = tiny_bench("byol")
    encoder, images = bench.model.encoder, torch.zeros(4, 3, 128, 128)
    task = bench.model.tasks.contrastive

    def online() -> None:
        task.predictor(task.projector(encoder(images).cls)).sum().backward()

    with torch.no_grad():
        branch = count_flops(lambda: task.projector(encoder(images).cls))
    assert bench.flops().total == count_flops(online) + branch


def test_frozen_weights_and_inputs_get_no_gradient() -> None:
    layer, x = nn.Linear(7, 3), torch.ones(5, 7)
    once = 2 * 5 * 7 * 3
    assert count_flops(lambda: layer(x).sum().backward()) == 2 * once  # the weight's alone
    layer.weight.requires_grad_(False)
    assert count_flops(lambda: layer(x).sum().backward()) == once
