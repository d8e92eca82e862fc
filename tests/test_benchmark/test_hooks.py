"""Time of the hooks that watch features, beside that of the steps."""

from __future__ import annotations

import json

import pytest

from benchmark.hooks import HookTimes, measure_hooks
from tests.test_benchmark.small import tiny_bench, tiny_config


def test_shares_are_those_of_a_training() -> None:
    times = HookTimes("mae", (2.0, 4.0), (80.0, 40.0), (0.1, 0.1), 1000, 50, 64)
    assert times.shares == pytest.approx([(0.08 + 0.002) / 2, (0.04 + 0.002) / 4])
    line = json.loads(times.line())
    assert (line["least_percent"], line["most_percent"]) == (1.05, 4.1)


@pytest.mark.parametrize("method", ["mae", "mocov3"])
def test_hooks_are_timed_beside_steps(method: str) -> None:
    bench, config = tiny_bench(method, image_size=32), tiny_config(method, image_size=32)
    times = measure_hooks(bench, config, repeat=2, images=50)
    assert len(times.steps) == len(times.health) == 2 and min(times.health) > 0
    # 0.5 % of the images; every 50th step
    assert times.health_steps == pytest.approx(50 / (0.005 * bench.batch_size))
    looks = method == "mocov3"
    assert (min(times.collapse) > 0) == looks and times.collapse_steps == (50 if looks else 1)
