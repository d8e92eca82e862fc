"""Loss curves from what MMEngine logs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

from mmvitssl.writing import whole

Curve = tuple[Sequence[float], Sequence[float]]
Scalars = Sequence[Mapping[str, float]]
# where a line stands, and what the machine did
POSITIONS = ("step", "iter", "epoch")
MACHINE = ("time", "data_time", "memory", "base_lr")
SCHEDULED = re.compile(r"(^|[/_.])(lr|momentum)$")  # has no noise to smooth
HEALTH = "health.json"  # beside the scalars: what HealthHook found
LONG_NAME = 46  # letters of a caption that are shown


def _files(work_dir: str | Path) -> list[Path]:
    files = sorted(Path(work_dir).glob("*/vis_data/scalars.json"))
    if not files:
        raise FileNotFoundError(f"No scalars.json below {work_dir}: has a training run there?")
    return files


def read_lines(path: Path) -> list[dict[str, float]]:
    """The lines of a file; what a full disk or a kill left of one is left out."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            found.append(content)
    return found


def latest_scalars(work_dir: str | Path) -> list[dict[str, float]]:
    """The logged scalars of the last run in a work folder, one dict per line.

    Raises:
        FileNotFoundError: nothing was logged there.
    """
    return read_lines(_files(work_dir)[-1])


def run_scalars(work_dir: str | Path) -> list[dict[str, float]]:
    """The logged scalars of a training that may have been resumed, one dict per line.

    A later start in the folder replaces what an earlier one logged from its first step on, so that
    one from scratch replaces all of it. Lines of validation, which may count epochs, are compared
    with lines of validation.

    Raises:
        FileNotFoundError: nothing was logged there.
    """
    joined: list[dict[str, float]] = []
    for path in _files(work_dir):
        lines = [line for line in read_lines(path) if "step" in line]
        for training in (True, False):
            steps = [line["step"] for line in lines if ("iter" in line) == training]
            if not steps:
                continue
            joined = [
                line for line in joined if ("iter" in line) != training or line["step"] < min(steps)
            ]
        joined += lines
    return joined


def curve(scalars: Scalars, name: str) -> Curve:
    """Steps and values of one scalar."""
    points = [(line["step"], line[name]) for line in scalars if name in line and "step" in line]
    return [point[0] for point in points], [point[1] for point in points]


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Exponential mean of what was so far, without the bias towards the first value.

    Args:
        values: in order; one that is not finite is passed on and not counted.
        weight: of the past, in [0, 1); 0 gives the values.

    Raises:
        ValueError: a weight outside [0, 1).
    """
    if not 0 <= weight < 1:
        raise ValueError(f"The smoothing must lie in [0, 1), not {weight}.")
    result, total, counted = [], 0.0, 0.0
    for value in values:
        if not math.isfinite(value):
            result.append(value)
            continue
        total = weight * total + (1 - weight) * value
        counted = weight * counted + (1 - weight)
        result.append(total / counted)
    return result


def metric_names(runs: Mapping[str, Scalars], pattern: str | None = None) -> list[str]:
    """What the runs logged, in the order of the first that did.

    Args:
        runs: scalars by name of the run.
        pattern: a regular expression that a name must contain; None: everything but times and
            memory.

    Raises:
        ValueError: nothing fits, or the pattern is none.
    """
    try:
        wanted = re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"'{pattern}' is no regular expression: {error}.") from error
    left_out = POSITIONS if pattern else (*POSITIONS, *MACHINE)
    names: dict[str, None] = {}
    for scalars in runs.values():
        for line in scalars:
            names.update(dict.fromkeys(key for key in line if key not in left_out))
    found = [name for name in names if wanted.search(name)]
    if not found:
        raise ValueError(f"No metric fits '{pattern}'; the runs logged {', '.join(names)}.")
    return found


def _shown(caption: str) -> str:
    return caption if len(caption) <= LONG_NAME else "…" + caption[1 - LONG_NAME :]


def _draw(axes: Any, curves: Mapping[str, Curve], smoothing: float = 0.0) -> None:
    """Curves in the colours of their order; those without points keep theirs."""
    for i, (caption, (steps, values)) in enumerate(curves.items()):
        if not steps:
            continue
        colour = f"C{i % 10}"
        if smoothing:
            axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.25)
        marker = "o" if len(steps) == 1 else None
        axes.plot(
            steps, smoothed(values, smoothing), color=colour, label=_shown(caption), linewidth=1.8,
            marker=marker,
        )  # fmt: skip
    axes.grid(alpha=0.25)


def _png(figure: Any) -> bytes:
    """A figure as a file, and closed."""
    from matplotlib import pyplot as plt  # slow to import, and trainings draw no curves

    stream = BytesIO()
    figure.savefig(stream, format="png")
    plt.close(figure)
    return stream.getvalue()


@matplotlib.rc_context({"text.parse_math": False})  # names hold no formulas
def plot_curves(
    curves: Mapping[str, Curve],
    title: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    smoothing: float = 0.0,
    xlabel: str = "iteration",
) -> bytes:
    """Draw curves over the training step.

    Args:
        curves: steps and values by caption.
        title, ylabel, xlabel: captions.
        levels: horizontal lines by caption, such as a value at chance.
        smoothing: of :func:`smoothed`; the values stay visible, pale.

    Returns:
        a PNG.
    """
    from matplotlib import pyplot as plt  # slow to import, and trainings draw no curves

    figure, axes = plt.subplots(figsize=(5.2, 3.2), dpi=110, layout="constrained")
    _draw(axes, curves, smoothing)
    for caption, value in (levels or {}).items():
        axes.axhline(value, linestyle="--", color="0.5", linewidth=1.2, label=caption)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.legend(fontsize=8, frameon=False)
    return _png(figure)


def _xlabel(runs: Mapping[str, Scalars], name: str) -> str:
    """Lines of validation count as the runner does, in epochs or iterations."""
    counted = all("iter" in line for scalars in runs.values() for line in scalars if name in line)
    return "iteration" if counted else "step of validation (epoch or iteration, as logged)"


@matplotlib.rc_context({"text.parse_math": False})  # names hold no formulas
def plot_overview(runs: Mapping[str, Scalars], names: Sequence[str], smoothing: float) -> bytes:
    """All metrics of all runs on one sheet, one legend below; returns a PNG."""
    from matplotlib import pyplot as plt  # slow to import, and trainings draw no curves

    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.3 * columns, 2.2 * rows + 0.5), dpi=110, layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    for axis, name in zip(axes.flat, names, strict=False):
        curves = {run: curve(scalars, name) for run, scalars in runs.items()}
        _draw(axis, curves, 0.0 if SCHEDULED.search(name) else smoothing)
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
    handles = {
        label: handle
        for axis in axes.flat
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", fontsize=8, frameon=False,
        ncols=min(len(handles), columns),
    )  # fmt: skip
    return _png(figure)


def draw_runs(
    folders: Sequence[str | Path],
    out: str | Path,
    smoothing: float = 0.0,
    pattern: str | None = None,
) -> list[Path]:
    """Compare the logs of runs: one figure per metric, and one of all.

    Args:
        folders: work folders.
        out: folder for ``<metric>.png`` and ``overview.png``.
        smoothing: of :func:`smoothed`.
        pattern: of the metrics' names; see :func:`metric_names`.

    Returns:
        the files.

    Raises:
        FileNotFoundError: nothing was logged in a folder.
        ValueError: no metric fits.
    """
    smoothed([], smoothing)
    runs = {
        name: run_scalars(folder) for name, folder in zip(run_names(folders), folders, strict=True)
    }
    names = metric_names(runs, pattern)
    pictures = {"overview": plot_overview(runs, names, smoothing)}
    for name in names:
        curves = {run: curve(scalars, name) for run, scalars in runs.items()}
        pictures[name] = plot_curves(
            curves,
            name,
            name,
            smoothing=0.0 if SCHEDULED.search(name) else smoothing,
            xlabel=_xlabel(runs, name),
        )
    written = []
    for name, picture in pictures.items():
        path = Path(out) / f"{re.sub(r'[^-.0-9A-Za-z]+', '_', name)}.png"
        with whole(path) as part:
            part.write_bytes(picture)
        written.append(path)
    return written


def run_names(folders: Sequence[str | Path]) -> list[str]:
    """Names of work folders: what is not common to their paths, from the first difference on.

    Raises:
        ValueError: a folder is given twice.
    """
    parts = [Path(folder).resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise ValueError("A run is given twice.")
    common = 0
    while len({part[: common + 1] for part in parts}) == 1 and all(
        len(part) > common + 1 for part in parts
    ):
        common += 1
    return ["/".join(part[common:]) for part in parts]
