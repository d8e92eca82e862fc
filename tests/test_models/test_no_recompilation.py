"""A compiled encoder is compiled in the first steps and never again: its shapes do not change."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters

from tests.marks import some
from tests.test_benchmark.small import METHODS, tiny_bench

# masks that replace, drop and lie in windows; one encoder pass, several, and with a momentum branch
REPRESENTATIVE = ("mae", "lomar", "cae", "simmim", "dino", "repre-mocov3", "mtssl")


@pytest.mark.parametrize("method", some(METHODS, lambda method: method in REPRESENTATIVE))
def test_masks_and_epochs_do_not_recompile(method: str) -> None:
    torch._dynamo.reset()
    bench = tiny_bench(method)
    bench.model.encoder.compile(backend="eager")
    counters.clear()
    for _ in range(2):  # a second size of views makes a size symbolic
        bench.step()
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    # the samples' epoch counts up in each step, so that each draws other masks
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(3):
            bench.step()
    assert counters["stats"]["unique_graphs"] == graphs
