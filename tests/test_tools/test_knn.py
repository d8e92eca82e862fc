"""Nearest neighbours and the experiment on choices of tasks, as programs."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from mmvitssl.engine.launch import UserError
from tests.test_evaluation.test_features import ENCODER, PIPELINE, build_encoder, pack
from tests.test_tools.programs import ROOT, run

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


def experiment() -> ModuleType:
    path = ROOT / "tools" / "experiments" / "multitask_cifar10.py"
    spec = importlib.util.spec_from_file_location("multitask_cifar10", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_experiment_trains_probes_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = experiment()
    for part, number in (("train", 40), ("test", 20)):
        file = np.load(pack(tmp_path / "small.npz", number))
        arrays = {name: file[name] for name in file.files}
        np.savez(tmp_path / f"cifar10_{part}.npz", **arrays)
    monkeypatch.setattr(program, "TRAIN_IMAGES", 40)
    monkeypatch.setattr(program, "TEST_IMAGES", 20)
    monkeypatch.setattr(program, "BATCH", 8)
    out = tmp_path / "results.jsonl"
    arguments = [
        "--data-root", str(tmp_path), "--iterations", "2", "--images", "40", "--bank", "40",
        "--queries", "10", "--width", "64", "--depth", "1", "--work-dir", str(tmp_path / "runs"),
        "--out", str(out), "--runs", "random", "place+paint:pareto",
    ]  # fmt: skip
    program.main(arguments)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["run"] for line in lines] == ["random", "place+paint:pareto"]
    assert all(0 <= line["knn_20"] <= 1 for line in lines)
    assert (tmp_path / "runs" / "place+paint-pareto_0" / "run.py").is_file()
    program.main([*arguments, "all"])  # only what is not there yet
    assert len(out.read_text().splitlines()) == 3


def test_experiment_knows_its_runs() -> None:
    program = experiment()
    assert program.tasks_of("all:pareto") == (program.TASKS, "pareto")
    assert program.tasks_of("contrast+place") == (("contrast", "place"), None)
    with pytest.raises(UserError, match="joined by"):
        program.tasks_of("contrast+plce")


def test_experiment_prints_its_results() -> None:
    lines = [
        {"run": "contrast", "seed": seed, "knn_20": 0.3 + seed / 100, "linear": 0.5}
        for seed in (0, 1)
    ]
    rows = experiment().table([*lines, {"run": "all", "seed": 0, "knn_20": 0.25, "linear": 0.4}])
    assert "| contrast | 2 | 30.5 (30.0 to 31.0) | 50.0 (50.0 to 50.0) |" in rows
    assert "| all | 1 | 25.0 | 40.0 |" in rows
