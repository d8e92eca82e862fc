"""Twelve optimizer steps of the official codes, by the shipped configs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parity import Fixture, compare_file
from parity.options import OPTIONS
from parity.trajectory import compare_trajectory

RECORDED = Path(__file__).resolve().parents[1] / "data/parity"
QUICK = ("lomar", "dino")


@pytest.mark.parametrize(
    "method",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in OPTIONS],
)
def test_the_shipped_config_arrives_at_the_official_weights(method: str) -> None:
    found = compare_file(RECORDED / f"traj_{method}.npz")
    assert found.ok, found.line()
    assert found.file < 1e-5 and found.tensor < 1e-4 and 0 < found.loss < 2e-5


def test_a_wrong_rule_is_noticed_with_the_step() -> None:
    fixture = Fixture.load(RECORDED / "traj_lomar.npz")
    wrong = replace(fixture, meta={**fixture.meta, "betas": [0.9, 0.999]})
    found = compare_trajectory(wrong)
    assert not found.ok and found.file > 1e-2
    # the rate of step 0 is 0, so that the second moments first count in step 1
    assert any(line.startswith("loss: first differs at step 2,") for line in found.problems)
    first = [line for line in found.problems if line.startswith("trace/")]
    assert first and all(re.search(r"differs at step [1-9]", line) for line in first), first
    late = dict(fixture.arrays)
    late["lr"] = late["lr"].roll(1)
    found = compare_trajectory(replace(fixture, arrays=late))
    assert [line[:24] for line in found.problems] == ["lr: first differs at ste"]


def test_a_training_of_another_method_is_refused(tmp_path: Path) -> None:
    from mmvitssl.checkpoint import CheckpointError

    with np.load(RECORDED / "traj_lomar.npz") as content:
        arrays = {name: content[name] for name in content.files}
    arrays["meta"] = np.array('{"method": "byol"}')
    np.savez(tmp_path / "byol.npz", **arrays)
    with pytest.raises(CheckpointError, match="training of 'byol'; ours exist for"):
        compare_file(tmp_path / "byol.npz")
