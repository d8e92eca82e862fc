"""The supervised ViT beside a method is timm's, with the encoder's sizes, and trains."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark import load_config
from benchmark.supervised import CLASSES, SupervisedBench
from mmvitssl.engine.launch import UserError
from tests.test_benchmark.small import DEPTH, WIDTH, tiny_config


def supervised(amp: str = "fp32") -> SupervisedBench:
    return SupervisedBench("mae", tiny_config("mae"), 2, amp=amp)


@pytest.mark.parametrize("amp", ["fp32", "bf16"])
def test_every_parameter_trains(amp: str) -> None:
    bench = supervised(amp)
    before = [parameter.detach().clone() for parameter in bench.model.parameters()]
    for _ in range(2):  # the classifier starts from zero and holds the gradient back once
        bench.step()
    after = list(bench.model.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after)
    assert not any(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_its_operations_are_those_of_the_encoder_and_a_classifier() -> None:
    bench = supervised()
    tokens, blocks = 64 + 1, DEPTH
    embedding = 2 * 64 * (16 * 16 * 3) * WIDTH
    block = 2 * tokens * 12 * WIDTH**2 + 4 * tokens**2 * WIDTH
    classifier = 2 * WIDTH * CLASSES
    # the gradient for the images themselves is not needed
    expected = 2 * (3 * (blocks * block + classifier) + 2 * embedding)
    assert bench.flops().total == expected
    # fused attention on a CPU is no operation that torch counts
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        bench.step()
    assert counter.get_total_flops() == expected


def test_a_swin_has_none() -> None:
    with pytest.raises(UserError, match="the encoder of moby is no ViT"):
        SupervisedBench("moby", load_config("moby", "Swin-T"), 1)
