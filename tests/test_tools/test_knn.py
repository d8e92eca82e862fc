"""Nearest neighbours and the experiment on choices of tasks, as programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from tests.test_evaluation.test_features import ENCODER, PIPELINE, build_encoder, pack
from tests.test_tools.programs import run

CONFIG = """
encoder = {encoder}
bank = dict(type='PackedImages', file='{bank}', pipeline={pipeline})
queries = dict(type='PackedImages', file='{queries}', pipeline={pipeline})
neighbours = (1, 3)
readout = 'mean'
"""


def write(tmp_path: Path) -> Path:
    path = tmp_path / "knn.py"
    bank, queries = pack(tmp_path / "bank.npz", 30), pack(tmp_path / "queries.npz", 12, 1)
    path.write_text(CONFIG.format(encoder=ENCODER, bank=bank, queries=queries, pipeline=PIPELINE))
    return path


def test_program_prints_and_writes_accuracies(tmp_path: Path) -> None:
    encoder = build_encoder()
    torch.save({"state_dict": encoder.state_dict()}, tmp_path / "encoder.pth")
    out = tmp_path / "out" / "knn.json"
    done = run(
        sys.executable, "tools/knn.py", write(tmp_path), tmp_path / "encoder.pth", "--out", out
    )
    assert "knn_3" in done.stdout and "a bare encoder" in done.stdout
    assert json.loads(out.read_text())["knn_3"] > 0.9


def test_program_refuses_a_checkpoint_that_does_not_fit(tmp_path: Path) -> None:
    torch.save({"state_dict": {"norm.weight": torch.ones(3)}}, tmp_path / "other.pth")
    done = run(sys.executable, "tools/knn.py", write(tmp_path), tmp_path / "other.pth", ok=False)
    assert done.returncode != 0 and "does not fit" in done.stdout
    assert "Traceback" not in done.stdout
