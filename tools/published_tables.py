#!/usr/bin/env python
"""Write docs/results/tables.md: which configs make each row of the papers' tables."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "tools/published_tables.yaml"
PAGE = ROOT / "docs/results/tables.md"
COVERAGE = {
    "parity": "[parity](../checkpoints.md)",
    "learning": "[CIFAR-10](learning.md)",
    "camvid": "[CamVid](transfer.md)",
    "multitask": "[CIFAR-10](multitask.md)",
}
HEADER = """# Rows of the papers' tables

<!-- written by tools/published_tables.py from tools/published_tables.yaml -->

Each row has the config that pretrains its encoder and the config that evaluates it. The numbers are
published ones; nobody has reproduced them with this code yet. Names are those of files in
`configs/`, without their ending. Run a row with both:

<!-- not run: needs ImageNet; the same commands run in evaluate.md -->
```bash
python tools/train.py configs/PRETRAINING.py --work-dir work_dirs/row
python tools/train.py configs/EVALUATION.py --pretrained work_dirs/row/last.pth
```

The line below each table says where its numbers come from. "Not available": the number stands in
a table of the paper, and neither its text nor a repository repeats it. "Figure": the number can
only be read from a picture. "None": nothing was published. Where a paper and its code differ, both
are rows.

The last column says what was measured or compared here, at a small size. *Parity* compares losses
and outputs with the official code. The other entries are studies of learning. Every config of this
page builds, and the tests train each for two steps of a small model.
"""


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        label: what the row compares.
        pretraining: config below ``configs/`` without its ending; None: none.
        evaluation: the same, of a probe, a fine-tuning, a detector or a segmentor.
        published: the number, or what stands for it.
    """

    label: str
    pretraining: str | None
    evaluation: str | None
    published: str

    @property
    def configs(self) -> list[str]:
        return [name for name in (self.pretraining, self.evaluation) if name]


@dataclass(frozen=True)
class Table:
    """A table of a paper, with its rows, and where its numbers were read."""

    paper: str
    title: str
    source: str
    rows: tuple[Row, ...]


def _row(line: str) -> Row:
    cells = [cell.strip() for cell in line.split(" | ")]
    if len(cells) != 4:
        raise ValueError(f"{SOURCE.name}: a row has four cells, not {len(cells)}: {line}")
    label, pretraining, evaluation, published = cells
    names = [None if name == "-" else name for name in (pretraining, evaluation)]
    return Row(label, names[0], names[1], published)


def read() -> tuple[list[Table], dict[str, list[str]]]:
    """The tables, and what covers each method."""
    source = yaml.safe_load(SOURCE.read_text())
    tables = [
        Table(
            one["paper"],
            one["table"],
            one.get("source", ""),
            tuple(_row(line) for line in one["rows"].splitlines()),
        )
        for one in source["tables"]
    ]
    return tables, source["coverage"]


def covered(row: Row, coverage: dict[str, list[str]]) -> str:
    """Links to what was compared or measured of the method of a row."""
    method = Path(row.pretraining or "").name.split("_")[0]
    found = next((kinds for name, kinds in coverage.items() if fnmatch(method, name)), [])
    return ", ".join(COVERAGE[kind] for kind in found)


def render() -> str:
    """The page."""
    tables, coverage = read()
    parts, paper = [HEADER], None
    for table in tables:
        if table.paper != paper:
            paper = table.paper
            parts.append(f"## {paper}\n")
        lines = [
            f"### {table.title}\n",
            "| row | pretraining | evaluation | published | covered by |",
            "| --- | --- | --- | --- | --- |",
        ]
        for row in table.rows:
            names = [f"`{name}`" if name else "none" for name in (row.pretraining, row.evaluation)]
            cells = [row.label, *names, row.published, covered(row, coverage)]
            lines.append("| " + " | ".join(cells) + " |")
        if table.source:
            lines.append(f"\nSource of the numbers: {table.source}.")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    arguments = parser.parse_args()
    page = render()
    if not arguments.check:
        PAGE.write_text(page)
    elif PAGE.read_text() != page:
        sys.exit(f"error: {PAGE.relative_to(ROOT)} is stale: run python tools/published_tables.py.")


if __name__ == "__main__":
    main()
