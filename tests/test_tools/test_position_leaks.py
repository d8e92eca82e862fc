"""tools/experiments/position_leaks.py as a program, at its smallest."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.test_tools.programs import ROOT, run

PROGRAM = ROOT / "tools/experiments/position_leaks.py"


@pytest.mark.slow
def test_it_writes_a_table_and_all_scores(tmp_path: Path) -> None:
    cases = ("place-hidden", "jigsaw-slot", "colour", "paint-none", "rotation-none")
    out = tmp_path / "scores.json"
    done = run(
        sys.executable, PROGRAM, "--cases", *cases, "--seeds", "2", "--steps", "2", "--images",
        "32", "--test-images", "24", "--out", out,
    ).stdout  # fmt: skip
    scores = json.loads(out.read_text())
    assert tuple(scores) == cases
    for name, columns in scores.items():
        assert list(columns) == ["pictures", "confetti"] and f"{name} |" in done
        assert all(len(values) == 2 and min(values) >= 0 for values in columns.values())
    assert scores["colour"]["pictures"][0] != scores["colour"]["pictures"][1]
    assert "± deviation over 2 seeds" in " ".join(done.split())


@pytest.mark.slow
def test_an_unknown_case_is_named() -> None:
    done = run(sys.executable, PROGRAM, "--cases", "chess", ok=False)
    assert done.returncode == 2 and "'place-hidden'" in done.stdout
