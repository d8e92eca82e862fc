"""The soak itself: crashes, hangs and stops are outcomes; and short forms of its trials."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import soak
from tests.test_soak.kinds import KINDS


def troubled(number: int) -> dict[str, Any]:
    if number == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    if number == 2:
        raise ValueError("a trial that fails")
    return {"outcome": "refused"}


def test_each_trial_is_a_line_and_a_stopped_soak_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    lines = soak.soak("kind", troubled, 4, path)
    assert [line["outcome"] for line in lines] == ["refused", "crash", "crash", "refused"]
    assert "status -15" in lines[1]["what"] and "a trial that fails" in lines[2]["what"]
    text = path.read_text()
    path.write_text(text + '{"kind": "kind", "num')  # killed while it wrote

    def counting(number: int) -> dict[str, Any]:
        return {"outcome": "equal", "counts": 3}

    more = soak.soak("kind", counting, 9, path)
    assert more[:4] == lines and [line["number"] for line in more[4:]] == [4, 5]
    assert path.read_text().startswith(text) and len(soak.finished(path)) == 6
    assert soak.soak("kind", troubled, 9, path) == more
    said = soak.summary("kind", more, 9)
    assert said == "kind: reached 10 of 9 in 6 trials: 2 crash, 2 equal, 2 refused"


def test_a_hang_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = time.monotonic()
    result = soak.isolated(lambda number: time.sleep(600) or {}, 0, seconds=0.5)  # type: ignore
    assert result["outcome"] == "hang" and time.monotonic() - begin < 300


@pytest.mark.parametrize(("kind", "goal"), [("images", 66), ("checkpoints", 12), ("data", 24)])
def test_short_forms(kind: str, goal: int, tmp_path: Path) -> None:
    prepare = KINDS[kind][0]
    lines = soak.soak(kind, prepare(tmp_path / kind), goal, tmp_path / "trials.jsonl")
    assert [line for line in lines if line["outcome"] in soak.WRONG] == []
    assert Counter(line["outcome"] for line in lines)["refused"] > goal / 4
    assert json.loads((tmp_path / "trials.jsonl").read_text().splitlines()[0])["kind"] == kind
