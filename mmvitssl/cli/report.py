"""Compare runs: last losses and metrics, settings that differ, and curves, in one HTML file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console
from rich.table import Table

from mmvitssl.engine.launch import UserError, building
from mmvitssl.visualization.curves import metric_names, run_names, run_scalars
from mmvitssl.visualization.run_report import write_run_report
from mmvitssl.writing import write_text

LEFT_OUT = ("work_dir", "log_level", "resume", "load_from")  # of settings


def last_values(runs: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Metric by run -> the value that was logged last."""
    return {
        name: {
            run: next(line[name] for line in reversed(scalars) if name in line)
            for run, scalars in runs.items()
            if any(name in line for line in scalars)
        }
        for name in metric_names(runs)
    }


def settings_of(folder: Path) -> dict[str, Any]:
    """A run's config by dotted key; empty where it wrote none."""
    logged = sorted(folder.glob("*/vis_data/config.py"), reverse=True)  # with what options changed
    files = [path for path in [*logged[:1], *sorted(folder.glob("*.py"))] if path.is_file()]
    if not files:
        return {}
    flat: dict[str, Any] = {}
    _flatten(Config.fromfile(files[0]).to_dict(), "", flat)
    return {key: value for key, value in flat.items() if key.split(".")[0] not in LEFT_OUT}


def _flatten(node: Any, key: str, into: dict[str, Any]) -> None:
    if isinstance(node, Mapping):
        for name, value in node.items():
            _flatten(value, f"{key}.{name}" if key else str(name), into)
    else:
        into[key] = node


def differing(settings: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Keys whose values are not those of all runs: key -> run -> value."""
    keys = dict.fromkeys(key for one in settings.values() for key in one)
    found = {}
    for key in keys:
        values = {run: repr(one[key]) if key in one else "-" for run, one in settings.items()}
        if len(set(values.values())) > 1:
            found[key] = values
    return found


def main() -> None:
    """Compare as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="work folder")
    parser.add_argument("--out", default="work_dirs/report/report.html", metavar="FILE",
                        help=".html, or .json")  # fmt: skip
    args = parser.parse_args()
    if not args.out.endswith((".html", ".json")):
        raise UserError(f"--out {args.out} must end in .html or .json.")
    with building():
        names = run_names(args.runs)
        runs = {
            name: run_scalars(folder) for name, folder in zip(names, args.runs, strict=True)
        }
        values = last_values(runs)
    settings = differing(
        {name: settings_of(Path(folder)) for name, folder in zip(names, args.runs, strict=True)}
    )
    for key, by_run in settings.items():
        print(f"{key}: {', '.join(f'{value} ({run})' for run, value in by_run.items())}")
    table = Table("last value", *names)
    rows = [
        (metric, *(f"{by_run[run]:.5g}" if run in by_run else "-" for run in names))
        for metric, by_run in values.items()
    ]
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    out = Path(args.out)
    if out.suffix == ".json":
        write_text(out, json.dumps({"last": values, "settings": settings}, indent=1))
    else:
        write_run_report([Path(folder) for folder in args.runs], out)
    print(f"wrote {out}")
