"""Weights of losses against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvitssl.models.balancers import FixedWeights, UncertaintyWeights

KINDS = {"a": "classification", "b": "gaussian", "c": "laplace"}
positive = st.floats(0.01, 100)


@settings(max_examples=50, deadline=None)
@given(s=st.floats(-3, 3), loss=positive)
def test_uncertainty_against_the_closed_form(s: float, loss: float) -> None:
    balancer = UncertaintyWeights(KINDS, initial=s).double()
    value = torch.tensor(loss, dtype=torch.float64, requires_grad=True)
    balanced = balancer(dict.fromkeys(KINDS, value))
    factors = {"a": math.exp(-s), "b": 0.5 * math.exp(-s), "c": math.exp(-s / 2)}
    for task, factor in factors.items():
        assert balanced[task].term.item() == pytest.approx(
            factor * loss + s / 2, rel=1e-6, abs=1e-6
        )
        assert balanced[task].weight.item() == pytest.approx(factor, rel=1e-6)
        (gradient,) = torch.autograd.grad(balanced[task].term, value, retain_graph=True)
        assert gradient.item() == pytest.approx(factor, rel=1e-6)


def test_uncertainty_finds_its_fixed_point() -> None:
    """At the minimum weight x loss is 1/2 for cross entropy and 1 for absolute errors."""
    balancer = UncertaintyWeights(dict(a="classification", c="laplace"))
    optimizer = torch.optim.Adam(balancer.parameters(), lr=0.05)
    losses = dict(a=torch.tensor(3.0), c=torch.tensor(0.2))
    for _ in range(600):
        optimizer.zero_grad()
        balanced = balancer(losses)
        sum(item.term for item in balanced.values()).backward()
        optimizer.step()
    balanced = balancer(losses)
    assert (balanced["a"].weight * 3.0).item() == pytest.approx(0.5, rel=1e-2)
    assert (balanced["c"].weight * 0.2).item() == pytest.approx(1.0, rel=1e-2)


def test_weights_start_at_one() -> None:
    balanced = UncertaintyWeights(KINDS)({"a": torch.tensor(2.0), "c": torch.tensor(4.0)})
    assert balanced["a"].term.item() == 2.0 and balanced["c"].term.item() == 4.0


def test_fixed_weights() -> None:
    balanced = FixedWeights({"a": 0.5})({"a": torch.tensor(2.0), "b": torch.tensor(3.0)})
    assert balanced["a"].term.item() == 1.0 and balanced["b"].term.item() == 3.0


def test_balancers_refuse_tasks_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="name \\['x'\\]"):
        FixedWeights({"x": 1.0}).check(["a"])
    with pytest.raises(ValueError, match="give each task its likelihood"):
        UncertaintyWeights(KINDS).check(["a"])
    with pytest.raises(ValueError, match="'poisson' is unknown"):
        UncertaintyWeights({"a": "poisson"})
