"""Counting what a step sends, and the model of many devices."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from benchmark.scaling import Network, Traffic, count_traffic, predict, reduce_seconds
from mmvitssl.distributed import gather_with_grad, gather_without_grad, mean_over_processes
from tests.test_models.test_distributed_methods import build, make_batch

NETWORK = Network(flops=1e12, inside=1e9, between=1e8, latency=1e-3, node=8, bucket=1000)


def test_collectives_are_counted_by_kind() -> None:
    layer = nn.Linear(3, 5)

    def step() -> None:
        out = layer(torch.ones(2, 3))
        gather_without_grad(out)
        gather_without_grad(out)
        mean_over_processes(out)

    traffic = count_traffic(layer, step, 4)
    assert traffic == Traffic(gradients=80, gathered=2 * 4 * 2 * 5 * 4, reduced=40, collectives=3)
    assert traffic.for_batch(8).gathered == 8 * traffic.gathered
    assert not torch.distributed.is_initialized()


def test_gradients_of_gathers_are_counted() -> None:
    layer = nn.Linear(3, 5)
    once = count_traffic(layer, lambda: None or gather_with_grad(layer(torch.ones(2, 3))), 4)  # type: ignore[func-returns-value]
    both = count_traffic(
        layer, lambda: gather_with_grad(layer(torch.ones(2, 3))).sum().backward(), 4
    )
    assert both.collectives > once.collectives == 1 and both.gathered > once.gathered == 160


@pytest.mark.parametrize(("name", "gathers"), [("mae", 0), ("mocov3", 2), ("simsiam", 0)])
def test_what_methods_send(name: str, gathers: int) -> None:
    model = build(name).train()

    def step() -> None:
        data = model.data_preprocessor(make_batch(0, slice(0, 4)), True)
        results = model(**data)
        sum(value for key, value in results.items() if key.startswith("loss")).backward()  # type: ignore[union-attr, misc]

    traffic = count_traffic(model, step, 8)
    # keys of both views, of all eight processes, fp32; batch norm reduces means and squares
    assert traffic.gathered == gathers * 8 * 4 * 16 * 4
    assert (traffic.reduced > 0) == (name != "mae")


def test_a_ring_by_hand() -> None:
    assert reduce_seconds(1e9, 8, NETWORK) == pytest.approx(2 * 7 / 8)
    assert reduce_seconds(1e9, 16, NETWORK) == pytest.approx(2 * 15 / 16 * 10)
    assert reduce_seconds(1e9, 1, NETWORK) == 0


def test_a_step_by_hand() -> None:
    traffic = Traffic(gradients=10**9, gathered=10**8, reduced=0, collectives=5)
    result = predict(3e12, traffic, 8, NETWORK)  # 3 s, of which 2 hide 1.75 s of gradients
    assert result.step == pytest.approx(3.0)
    assert result.gradients == pytest.approx(2 * 7 / 8 * 1000 / 1e9)
    assert result.others == pytest.approx(5e-3 + 7 / 8 * 0.1)
    short = predict(1.5e12, traffic, 8, NETWORK)  # 1 s hides 1 of 1.75 s
    assert short.gradients == pytest.approx(0.75)
    assert predict(3e12, traffic, 8, NETWORK, sharded=True).gradients < 1e-5
    assert predict(1.5e12, traffic, 8, NETWORK, sharded=True).gradients == pytest.approx(1.125)


@given(
    st.integers(2, 512), st.floats(1e9, 1e15), st.integers(0, 10**10), st.integers(0, 10**9),
    st.booleans(),
)  # fmt: skip
def test_efficiency_is_a_share_and_falls(
    devices: int, flops: float, gradients: int, gathered: int, sharded: bool
) -> None:
    traffic = Traffic(gradients, gathered, 10, 3)
    result = predict(flops, traffic, devices, NETWORK, sharded)
    assert 0 < result.efficiency <= 1
    more = predict(flops, traffic.for_batch(2), devices, NETWORK, sharded)
    assert more.efficiency <= result.efficiency
    twice = predict(flops, traffic, 2 * devices, NETWORK, sharded)
    assert twice.efficiency <= result.efficiency + 1e-12


def test_no_pretending_beside_a_real_group() -> None:
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        with pytest.raises(RuntimeError, match="without a process group"):
            count_traffic(nn.Linear(1, 1), lambda: None, 2)
    finally:
        torch.distributed.destroy_process_group()
