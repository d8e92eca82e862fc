"""Loss curves from what MMEngine logs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt

Curve = tuple[Sequence[float], Sequence[float]]


def latest_scalars(work_dir: str | Path) -> list[dict[str, float]]:
    """The logged scalars of the last run in a work folder, a dict a line.

    Raises:
        FileNotFoundError: nothing was logged there.
    """
    files = sorted(Path(work_dir).glob("*/vis_data/scalars.json"))
    if not files:
        raise FileNotFoundError(f"No scalars.json below {work_dir}: has a training run there?")
    lines = files[-1].read_text().splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def curve(scalars: Sequence[Mapping[str, float]], name: str) -> Curve:
    """Steps and values of one scalar."""
    points = [(line["step"], line[name]) for line in scalars if name in line and "step" in line]
    return [point[0] for point in points], [point[1] for point in points]


def plot_curves(
    curves: Mapping[str, Curve],
    title: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
) -> bytes:
    """Draw curves over the training step.

    Args:
        curves: steps and values by caption.
        title, ylabel: captions.
        levels: horizontal lines by caption, such as a value at chance.

    Returns:
        a PNG.
    """
    figure, axes = plt.subplots(figsize=(5.2, 3.2), dpi=110, layout="constrained")
    for caption, (steps, values) in curves.items():
        axes.plot(steps, values, label=caption, linewidth=1.8)
    for caption, value in (levels or {}).items():
        axes.axhline(value, linestyle="--", color="0.5", linewidth=1.2, label=caption)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("iteration")
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False)
    stream = BytesIO()
    figure.savefig(stream, format="png")
    plt.close(figure)
    return stream.getvalue()
