"""Plots of a study, the same bytes for the same records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .plan import Run, Study
from .statistics import Summary, summarise

AXIS = "linear probe, top-1 in %"
Records = Sequence[Mapping[str, Any]]


@contextmanager
def figure(study: Study, path: Path, size: tuple[float, float], columns: int = 1) -> Iterator[Any]:
    """Axes to draw into; the file is written at the end, without dates and random names."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    settings = {"svg.hashsalt": study.name, "svg.fonttype": "none", "font.size": 9}
    with pyplot.rc_context(settings):
        canvas, axes = pyplot.subplots(1, columns, figsize=size, sharey=columns > 1)
        yield axes
        canvas.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(path, metadata={"Date": None, "Creator": None})
        pyplot.close(canvas)


def linear(records: Records, run: str) -> Summary | None:
    """The linear probe of a run over its seeds; None: there is none."""
    values = [
        record["metrics"]["linear"]
        for record in records
        if record["run"] == run and "linear" in record["metrics"]
    ]
    return summarise(values) if values else None


def by_run(study: Study, records: Records, path: Path) -> None:
    """Accuracy of the linear probe, a line per run, as SVG."""
    with figure(study, path, (7, 0.5 + 0.35 * len({record["run"] for record in records}))) as axes:
        labels: list[str] = []
        for run in reversed(study.runs):
            summary = linear(records, run.name)
            if summary is not None:
                axes.errorbar(summary.mean, len(labels), xerr=summary.interval or 0, fmt="o",
                              color="C0", capsize=3)  # fmt: skip
                labels.append(run.label)
        baseline = linear(records, study.baseline)
        if baseline is not None:
            axes.axvline(baseline.mean, color="grey", linestyle=":")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlabel(f"{AXIS} (mean and 95 % interval over seeds)")


def methods(study: Study) -> dict[str, list[Run]]:
    """Runs that train, by the method whose longer or shorter trainings they are."""
    found: dict[str, list[Run]] = {}
    for run in study.runs:
        if run.iterations != 0:
            found.setdefault(run.method or run.name, []).append(run)
    return found


def _doublings(axis: Any, costs: Sequence[float]) -> None:
    """Set a logarithmic axis around positive costs, with a plain number at each doubling."""
    axis.set_xscale("log", base=2)
    if costs:
        low, high = math.log2(0.9 * min(costs)), math.log2(1.1 * max(costs))
        axis.set_xlim(2.0 ** math.floor(low), 2.0 ** math.ceil(high))
    axis.xaxis.set_major_formatter("{x:g}")


def by_compute(study: Study, records: Records, path: Path) -> None:
    """Accuracy of the linear probe against operations and against time, as SVG.

    A line joins the trainings of one method. Time is that of the processor for the pretraining.
    """
    costs = (("flops", 1e12, "10¹² operations"), ("processor_seconds", 60, "minutes of one core"))
    with figure(study, path, (11, 4), columns=len(costs)) as axes:
        for axis, (key, unit, words) in zip(axes, costs, strict=True):
            drawn: list[float] = []
            for number, (name, runs) in enumerate(methods(study).items()):
                points = []
                for run in runs:
                    summary = linear(records, run.name)
                    own = [r["compute"][key] / unit for r in records if r["run"] == run.name]
                    if summary is not None:
                        points.append((sum(own) / len(own), summary.mean, summary.interval or 0))
                if points:
                    x, y, error = zip(*sorted(points), strict=True)
                    drawn += x
                    axis.errorbar(x, y, yerr=error, marker="os^D"[number // 10 % 4], capsize=3,
                                  color=f"C{number % 10}",
                                  linestyle="-" if number < 10 else "--",
                                  label=study.find(name).label)  # fmt: skip
            baseline = linear(records, study.baseline)
            if baseline is not None and study.find(study.baseline).iterations == 0:
                axis.axhline(baseline.mean, color="grey", linestyle=":")
            _doublings(axis, drawn)
            axis.set_xlabel(words)
        axes[0].set_ylabel(AXIS)
        axes[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5))
