"""Curves of several runs from their logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmvitssl.visualization.curves import (
    curve,
    draw_runs,
    metric_names,
    run_names,
    run_scalars,
    smoothed,
)


def log(folder: Path, start: str, lines: list[dict[str, Any]]) -> Path:
    path = folder / start / "vis_data/scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def steps(first: int, last: int, loss: float, **more: float) -> list[dict[str, float]]:
    return [dict(loss=loss, time=0.1, iter=i, step=i, **more) for i in range(first, last)]


def test_a_resumed_run_is_one_curve_and_a_fresh_start_replaces_it(tmp_path: Path) -> None:
    folder = log(tmp_path, "20260101_000000", [*steps(1, 6, 3.0), dict(top1=50.0, step=1)])
    log(tmp_path, "20260102_000000", [*steps(4, 8, 2.0), dict(top1=60.0, step=2)])
    scalars = run_scalars(folder)
    assert curve(scalars, "loss") == ([1, 2, 3, 4, 5, 6, 7], [3.0] * 3 + [2.0] * 4)
    assert curve(scalars, "top1") == ([1, 2], [50.0, 60.0])
    log(tmp_path, "20260103_000000", steps(1, 3, 1.0))
    assert curve(run_scalars(folder), "loss") == ([1, 2], [1.0, 1.0])
    with pytest.raises(FileNotFoundError, match=r"No scalars\.json below"):
        run_scalars(tmp_path / "none")


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20), st.floats(0, 0.99))
def test_smoothing_is_a_mean_of_the_past(values: list[float], weight: float) -> None:
    result = smoothed(values, weight)
    for i in range(len(values)):
        shares = np.array([weight ** (i - j) for j in range(i + 1)])
        expected = float((shares * values[: i + 1]).sum() / shares.sum())
        assert result[i] == pytest.approx(expected, abs=1e-9)


def test_smoothing_passes_on_what_is_not_finite() -> None:
    result = smoothed([1.0, float("nan"), 3.0], 0.5)
    assert result[0] == 1.0 and np.isnan(result[1])
    assert result[2] == pytest.approx((0.5 * 1 + 3) / 1.5)
    assert smoothed([1.0, 5.0], 0.0) == [1.0, 5.0]
    for weight in (-0.1, 1.0):
        with pytest.raises(ValueError, match="smoothing"):
            smoothed([1.0], weight)


def test_metrics_are_chosen_by_name() -> None:
    runs = {"a": steps(1, 2, 1.0, lr=0.1), "b": [dict(loss_x=1.0, step=1, memory=3)]}
    assert metric_names(runs) == ["loss", "lr", "loss_x"]
    assert metric_names(runs, "^loss") == ["loss", "loss_x"]
    assert metric_names(runs, "time|memory") == ["time", "memory"]
    with pytest.raises(ValueError, match=r"No metric fits 'top1'; the runs logged loss, time, lr"):
        metric_names(runs, "top1")
    with pytest.raises(ValueError, match="no regular expression"):
        metric_names(runs, "(")


def test_runs_are_named_by_what_differs() -> None:
    assert run_names(["work/a/x", "work/b/x"]) == ["a/x", "b/x"]
    assert run_names(["work/a"]) == ["a"]
    assert run_names(["work/a", "work/a/b"]) == ["a", "a/b"]
    with pytest.raises(ValueError, match="twice"):
        run_names(["work/a", "work/b/../a/"])


def test_a_figure_a_metric_and_one_of_all(tmp_path: Path) -> None:
    one = log(
        tmp_path / "one", "20260101_000000", [*steps(1, 9, 2.0, lr=0.1), dict(top1=1, step=1)]
    )
    two = log(tmp_path / "two", "20260101_000000", steps(1, 9, 1.0, lr=0.1))
    files = draw_runs([one, two], tmp_path / "new/out", 0.5)
    assert [path.name for path in files] == ["overview.png", "loss.png", "lr.png", "top1.png"]
    picture = np.asarray(Image.open(tmp_path / "new/out/loss.png").convert("RGB")).astype(int)
    for colour in ((31, 119, 180), (255, 127, 14)):  # a run keeps its colour
        assert (np.abs(picture - colour).max(axis=2) < 8).sum() > 200
    alone = np.asarray(Image.open(tmp_path / "new/out/top1.png").convert("RGB")).astype(int)
    assert (np.abs(alone - (31, 119, 180)).max(axis=2) < 8).sum() > 10
    assert not (np.abs(alone - (255, 127, 14)).max(axis=2) < 8).any()
