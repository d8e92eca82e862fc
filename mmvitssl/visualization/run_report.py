"""The page of a run, or of several beside each other: one HTML file that needs no network."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from jinja2 import Environment, PackageLoader

from mmvitssl.visualization.curves import (
    HEALTH,
    POSITIONS,
    curve,
    read_lines,
    run_names,
    run_scalars,
)
from mmvitssl.writing import write_text

FACTS = "run.json"
POINTS = 400  # of a curve
PICTURES = 3  # of one name: the first, the middle, the last
SHOWN = re.compile(r"^(.+)_(\d+)\.png$")
WARNING = re.compile(r" - WARNING - (.+)$")
FROZEN = "is skipped since its requires_grad=False"  # the optimizer's, of each frozen parameter
# heading: what its charts show
GROUPS = (
    ("Loss", re.compile(r"loss|^raw_|^weight_")),
    ("Health", re.compile(r"^health/|grad_norm|_std$|_rank$|entropy")),
    ("Schedule", re.compile(r"(^|[/_.])(lr|base_lr|momentum|weight_decay|temperature)$")),
    ("Machine", re.compile(r"^(time|data_time|memory)$")),
)
OTHER = "Metrics"


@dataclass(frozen=True)
class Run:
    """What a work folder says of its training.

    Attributes:
        name: that tells it from the others.
        folder: its work folder.
        scalars: what was logged, a dict per line.
        facts: of ``run.json``; empty for runs without.
        pictures: (step, file) by name, in order.
        warnings: of the log, each once.
        metrics: of validation and test, the last value of each.
    """

    name: str
    folder: Path
    scalars: Sequence[Mapping[str, float]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, list[tuple[int, Path]]] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)

    def values(self, name: str) -> list[float]:
        """The finite values of one scalar, in order."""
        return [value for value in curve(self.scalars, name)[1] if math.isfinite(value)]


def read_run(folder: Path, name: str) -> Run:
    """Read a work folder.

    Raises:
        FileNotFoundError: nothing was logged there.
    """
    facts: dict[str, Any] = {}
    for path in sorted(folder.glob(f"*/{FACTS}")):
        facts = _object(path) or facts
    if not facts or any(folder.glob("*/vis_data/scalars.json")):
        scalars = [*run_scalars(folder), *_health(folder)]
    else:  # shorter than the interval of the log
        scalars = _health(folder)
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.glob("*/vis_data/vis_image/*.png")):
        match = SHOWN.match(path.name)
        if match:
            found.setdefault(match[1], {})[int(match[2])] = path
    pictures = {key: sorted(steps.items()) for key, steps in found.items()}
    return Run(name, folder, scalars, facts, pictures, _warnings(folder), _metrics(folder, scalars))


def _object(path: Path) -> dict[str, Any]:
    """A JSON file; empty where a full disk or a kill left half of it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _health(folder: Path) -> list[dict[str, float]]:
    """Lines of HealthHook; a later start replaces an earlier one's from its first look on."""
    joined: list[dict[str, float]] = []
    for path in sorted(folder.glob(f"*/vis_data/{HEALTH}")):
        lines = read_lines(path)
        first = min((line["step"] for line in lines), default=math.inf)
        joined = [line for line in joined if line["step"] < first] + lines
    return joined


def _warnings(folder: Path) -> list[str]:
    lines: dict[str, None] = {}
    for path in sorted(folder.glob("2*/*.log")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            match = WARNING.search(line)
            if match and FROZEN not in match[1]:
                lines[match[1]] = None
    return list(lines)


def _metrics(folder: Path, scalars: Iterable[Mapping[str, float]]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for line in scalars:
        if "iter" not in line:
            metrics.update({key: value for key, value in line.items() if key not in POSITIONS})
    for path in sorted(folder.glob("test/2*/2*.json")):
        tested = _object(path)
        metrics.update({key: tested[key] for key in tested if isinstance(tested[key], float)})
    return {
        key: value for key, value in metrics.items()
        if not key.startswith("health/") and key not in ("time", "data_time")
    }  # fmt: skip


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def method_of(run: Run) -> str:
    """What was trained, in a few words."""
    facts = run.facts
    if not facts:
        return "A training"
    what = " + ".join(facts.get("tasks") or []) or facts["model"]
    encoder = facts.get("encoder") or {}
    arch = encoder.get("arch")
    size = arch if isinstance(arch, str) else "" if arch is None else json.dumps(arch)
    kind = str(encoder.get("type", "")).rpartition(".")[2]
    method = f"{Path(facts['recipe']).name.split('_')[0]}: " if facts.get("recipe") else ""
    return f"{method}{what} with {kind} {size}".strip() if kind else method + what


def verdict(run: Run) -> tuple[str, str]:
    """('good' | 'doubtful' | 'bad', a sentence on how the training went)."""
    losses = curve(run.scalars, "loss")[1]
    if not losses:
        return "doubtful", "No loss was logged (default_hooks.logger.interval)."
    if not all(math.isfinite(loss) for loss in losses):
        return "bad", "The loss is not finite: lower the learning rate, or train in fp32."
    part = max(len(losses) // 10, 1)
    first, last = mean(losses[:part]), mean(losses[-part:])
    words = f"The loss went from {_number(first)} to {_number(last)}"
    ranks = run.values("health/rankme")
    if len(ranks) > 1:
        words += f", the effective rank of features from {ranks[0]:.1f} to {ranks[-1]:.1f}"
    if any(line.startswith("COLLAPSE?") for line in run.warnings) or (ranks and ranks[-1] < 2):
        return "bad", f"{words}: the features of different images have become nearly the same."
    if len(losses) < 5:
        return "doubtful", f"{words}, in {len(losses)} lines of the log: too short to say more."
    if last >= first:
        return "doubtful", f"{words}: the loss did not fall."
    return "good", f"{words}."


def summary(run: Run) -> str:
    """One sentence: what was trained, on what, for how long."""
    facts = run.facts
    done = max((int(line["step"]) for line in run.scalars), default=0)
    if not facts:
        return f"{done:,} iterations."
    total = int(facts["iterations"])
    length = f"{total:,} iterations" if done >= total else f"{done:,} of {total:,} iterations"
    return (
        f"{method_of(run)}, {facts['parameters'] / 1e6:.1f} M parameters, on {facts['images']:,} "
        f"images: {length} of {facts['batch']} images per process."
    )


def health(run: Run) -> list[tuple[str, str]]:
    """(what, value) of what a user looks at first."""
    rows = []
    for key, label in (
        ("health/rankme", "Effective rank (RankMe)"),
        ("health/alpha_req", "Spectrum's exponent, alpha-ReQ (about 1 is good)"),
        ("health/knn", "Neighbours of the same class, %"),
    ):
        values = run.values(key)
        if values:
            rows.append((label, f"{values[0]:.4g} → {values[-1]:.4g}"))
    norms = run.values("grad_norm")
    if norms:
        rows.append(("Gradient norm, median (largest)", f"{median(norms):.3g} ({max(norms):.3g})"))
    times, waits = run.values("time"), run.values("data_time")
    if times:
        batch = run.facts.get("batch")
        if batch:
            rows.append(("Images per second and process", _number(batch / median(times))))
        rows.append(("Share of time waiting for data", f"{sum(waits) / sum(times):.0%}"))
    memory = run.values("memory")
    if memory:
        rows.append(("Memory of the device, MiB", _number(max(memory))))
    rows.append(("Warnings in the log", str(len(run.warnings))))
    return rows


def thinned(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float | None]]:
    """At most :data:`POINTS` points of a curve: means of equal parts; gaps where not finite."""
    size = max(math.ceil(len(x) / POINTS), 1)
    points: list[tuple[float, float | None]] = []
    for start in range(0, len(x), size):
        values = y[start : start + size]
        value = mean(values) if all(map(math.isfinite, values)) else None
        points.append((x[min(start + size, len(x)) - 1], value))
    return points


def charts(runs: Sequence[Run]) -> list[tuple[str, list[dict[str, Any]]]]:
    """(heading, charts) with the curves of all runs, as the page's script reads them."""
    names: dict[str, None] = {}
    for run in runs:
        for line in run.scalars:
            numbers = [key for key, value in line.items() if isinstance(value, (int, float))]
            names.update(dict.fromkeys(key for key in numbers if key not in POSITIONS))
    curves: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        lines = [(run.name, thinned(*curve(run.scalars, name))) for run in runs]
        curves[name] = [{"name": run, "points": points} for run, points in lines if points]
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, drawn in curves.items():
        # the loss of a single task is the loss, and a rate without layer decay the base rate
        general = "loss" if name.startswith("loss_") else "lr" if name == "base_lr" else ""
        if drawn and drawn != curves.get(general):
            heading = next((title for title, pattern in GROUPS if pattern.search(name)), OTHER)
            groups.setdefault(heading, []).append({"title": name, "lines": drawn})
    order = [GROUPS[0][0], OTHER, *(title for title, _ in GROUPS[1:])]
    return [(heading, groups[heading]) for heading in order if heading in groups]


def side_by_side(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """(key, value in each run) of every difference from the recipes that the runs do not share."""
    changed = [{key: after for key, _, after in run.facts.get("changed", [])} for run in runs]
    before = {key: value for run in runs for key, value, _ in run.facts.get("changed", [])}
    rows = [("recipe", [str(run.facts.get("recipe") or run.facts.get("config") or "")
                        for run in runs])]  # fmt: skip
    for key, value in before.items():
        values = [some.get(key, value) for some in changed]
        if len(set(values)) > 1:
            rows.append((key, values))
    return rows


def spread(runs: Sequence[Run]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Metrics of runs of one config: (names of metrics, (config, mean ± deviation of each)).

    Runs that differ in their seed alone are one row.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        changed = [row for row in run.facts.get("changed", []) if row[0] != "randomness.seed"]
        groups.setdefault(json.dumps([run.facts.get("recipe"), changed]), []).append(run)
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    rows = []
    for members in groups.values():
        cells = []
        for name in names:
            values = [run.metrics[name] for run in members if name in run.metrics]
            cell = f"{mean(values):.2f}" if values else ""
            cells.append(f"{cell} ± {stdev(values):.2f} ({len(values)})" if values[1:] else cell)
        rows.append((", ".join(run.name for run in members), cells))
    return names, rows


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _chosen(pictures: Sequence[tuple[int, Path]]) -> list[tuple[int, str]]:
    if len(pictures) > PICTURES:
        pictures = [pictures[0], pictures[len(pictures) // 2], pictures[-1]]
    return [(step, _embedded(path)) for step, path in pictures]


def write_run_report(
    folders: Sequence[Path], out: Path, commands: Sequence[tuple[str, str]] = ()
) -> Path:
    """Write the page of one run, or of several beside each other.

    Args:
        folders: work folders of trainings.
        out: the HTML file.
        commands: (purpose, command) to go on with.

    Returns:
        ``out``.

    Raises:
        FileNotFoundError: nothing was logged in a folder.
        ValueError: a folder is named twice.
    """
    names = run_names(folders) if len(folders) > 1 else [Path(folders[0]).resolve().name]
    runs = [read_run(Path(folder), name) for folder, name in zip(folders, names, strict=True)]
    page = Environment(
        loader=PackageLoader("mmvitssl.visualization", "templates"), autoescape=True,
        trim_blocks=True, lstrip_blocks=True,
    ).get_template("run.html")  # fmt: skip
    metrics, table = spread(runs)
    text = page.render(
        title=f"{len(runs)} runs" if len(runs) > 1 else names[0],
        runs=[
            {
                "run": run,
                "summary": summary(run),
                "verdict": verdict(run),
                "health": health(run),
                "pictures": {name: _chosen(found) for name, found in run.pictures.items()},
            }
            for run in runs
        ],
        groups=charts(runs),
        differences=side_by_side(runs) if len(runs) > 1 else [],
        metrics=metrics,
        table=table,
        commands=commands,
    )
    write_text(out, text, errors="backslashreplace")  # names need not be text
    return out
