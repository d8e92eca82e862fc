"""The count of operations against torch's own, and against closed forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from benchmark import StepBench, StepFlops
from mmvitssl.models.backbones import ViT
from tests.test_benchmark.small import METHODS, tiny_bench


@pytest.fixture(autouse=True)
def plain_attention() -> Iterator[None]:
    """Attention as the matrix products that it is, which torch's counter then sees."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


def both(bench: StepBench) -> tuple[StepFlops, int]:
    """Counts of the same step: masks, and so sizes, follow from the number of the step."""
    ours = bench.flops()
    bench.steps = 0
    with FlopCounterMode(display=False) as theirs:
        bench.step()
    return ours, theirs.get_total_flops()


@pytest.mark.parametrize("arch", ["ViT-S/16", "ViT-B/16"])
@pytest.mark.parametrize("method", METHODS)
def test_a_step_counts_as_torch_counts_it(method: str, arch: str) -> None:
    ours, theirs = both(tiny_bench(method, arch))
    assert ours.recomputed == 0
    assert ours.total == theirs


@pytest.mark.parametrize("method", ["moby", "repre-mocov3"])
def test_a_step_with_swin_counts_as_torch_counts_it(method: str) -> None:
    ours, theirs = both(tiny_bench(method, "Swin-T", image_size=64))
    assert ours.total == theirs


def test_gradients_of_a_part_of_the_graph_count_what_they_run() -> None:
    """Pareto weights take gradients of a block's parameters.

    The weights' own products of small matrices and vectors are what torch leaves out.
    """
    bench = tiny_bench("mtssl-pareto", "ViT-S/16")
    bench.step()  # the first one looks for the block where the tasks meet
    bench.steps = 0
    ours, theirs = both(bench)
    assert 0 <= ours.total - theirs < 1e-5 * theirs


def test_recomputation_of_checkpointing_is_counted_apart() -> None:
    plain, checkpointed = tiny_bench("mocov3"), tiny_bench("mocov3")
    checkpointed.model.encoder.gradient_checkpointing = True
    without, _ = both(plain)
    ours, theirs = both(checkpointed)
    assert ours.total == without.total
    assert ours.recomputed > 0 and ours.total + ours.recomputed == theirs


def test_compiled_steps_have_the_count_of_eager_ones() -> None:
    eager, compiled = tiny_bench("mae"), tiny_bench("mae", compile=True)
    assert compiled.flops().total == eager.flops().total


def test_vit_b_has_its_published_count() -> None:
    """ViT-B/16 at 224: 17.6 G multiply-adds (timm's table says 17.58, head included)."""
    with torch.device("meta"):
        model = ViT("base")
        with torch.no_grad(), StepFlops() as counter:
            model(torch.zeros(1, 3, 224, 224))
    width, tokens = 768, 197
    block = 12 * width**2 * tokens + 2 * width * tokens**2
    assert counter.total == 2 * (12 * block + 196 * 768 * width)
    assert counter.total / 2e9 == pytest.approx(17.58, rel=0.001)
    assert counter.backward == 0


def test_a_momentum_branch_costs_its_forward_only() -> None:
    """BYOL beside the same without a target, whose keys come from the online branch."""
    bench = tiny_bench("byol")
    encoder, images = bench.model.encoder, torch.zeros(4, 3, 128, 128)
    with torch.no_grad(), StepFlops() as branch:
        bench.model.tasks.contrastive.projector(encoder(images).cls)
    total = bench.flops()
    with StepFlops() as online:
        loss = bench.model.tasks.contrastive.projector(encoder(images).cls)
        bench.model.tasks.contrastive.predictor(loss).sum().backward()
    assert total.total == online.total + branch.total


x, w = torch.ones(5, 7), torch.ones(7, 3)
image = torch.ones(2, 4, 9, 8)
PRODUCTS: dict[str, tuple[Callable[[], Tensor], int]] = {
    "linear": (lambda: F.linear(x, w.T), 2 * 5 * 7 * 3),
    "matmul": (lambda: x @ w, 2 * 5 * 7 * 3),
    "batched": (lambda: torch.ones(6, 1, 5, 7) @ torch.ones(2, 7, 3), 12 * 2 * 5 * 7 * 3),
    "vector": (lambda: x @ torch.ones(7), 2 * 5 * 7),
    "addmm": (lambda: torch.addmm(torch.ones(3), x, w), 2 * 5 * 7 * 3),
    "bmm": (lambda: torch.bmm(x[None], w[None]), 2 * 5 * 7 * 3),
    "baddbmm": (lambda: torch.baddbmm(torch.ones(1), x[None], w[None], beta=0.5), 210),
    "conv": (lambda: F.conv2d(image, torch.ones(6, 2, 3, 3), stride=2, groups=2), 5184),
    "transposed": (lambda: F.conv_transpose2d(image, torch.ones(4, 5, 2, 2), stride=2), 23040),
    "einsum": (lambda: torch.einsum("ab,bc,cd->ad", x, w, w.T), 2 * (5 * 7 * 3 + 5 * 3 * 7)),
    "named": (lambda: F.linear(input=x, weight=w.T), 2 * 5 * 7 * 3),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name: str) -> None:
    work, expected = PRODUCTS[name]
    with StepFlops() as ours:
        work()
    with FlopCounterMode(display=False) as theirs:
        work()
    assert ours.total == expected
    assert theirs.get_total_flops() in (expected, 0)  # torch leaves matrix times vector out


def test_gradients_of_attention() -> None:
    shape, length = (2, 3), 5
    q, k, v = (torch.ones(*shape, n, 4) for n in (length, 7, 7))
    once = 2 * 6 * length * 7 * 4
    for wanted, products in (((), 0), ((v,), 1), ((q,), 2), ((q, k), 3), ((q, k, v), 4)):
        for tensor in (q, k, v):
            tensor.requires_grad_(any(tensor is other for other in wanted))
        with StepFlops() as counter:
            out = F.scaled_dot_product_attention(q, k, v)
            if wanted:
                out.sum().backward()
        assert (counter.forward, counter.backward) == (2 * once, products * once)


def test_frozen_weights_and_inputs_get_no_gradient() -> None:
    layer = nn.Linear(7, 3)
    with StepFlops() as counter:
        layer(x).sum().backward()
    assert counter.backward == 210  # the weight's alone
    layer.weight.requires_grad_(False)
    with StepFlops() as counter:
        layer(x).sum().backward()
    assert counter.backward == 0  # the bias needs no product


def test_checkpointed_function() -> None:
    first, second = nn.Linear(7, 7), nn.Linear(7, 7)
    inputs = x.clone().requires_grad_()
    with StepFlops() as counter:
        work = nn.Sequential(first, nn.GELU(), second)
        checkpoint(work, inputs, use_reentrant=False).sum().backward()
    once = 2 * 5 * 7 * 7
    # recomputation stops at what the last layer has kept: it is not run again itself
    assert (counter.forward, counter.backward, counter.recomputed) == (2 * once, 4 * once, once)


def test_products_without_a_formula_are_an_error() -> None:
    with pytest.raises(NotImplementedError, match="tensordot"), StepFlops():
        torch.tensordot(x, w, dims=1)
    with pytest.raises(NotImplementedError, match="name all axes"), StepFlops():
        torch.einsum("...a,ab->...b", x, w)
