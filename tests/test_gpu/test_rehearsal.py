"""The programs of tools/gpu on the CPU, and checks that must fail."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gpu_checks import report, steps
from gpu_checks.report import ROOT
from tests.test_tools.programs import ENVIRONMENT

TOOLS = ROOT / "tools/gpu"
CLASSES = 10


def run(name: str, *arguments: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    """A program of tools/gpu without a GPU in sight."""
    hidden = {"CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(TOOLS / name), *arguments], cwd=ROOT, text=True, timeout=1200,
        capture_output=True, env={**ENVIRONMENT, **hidden, **env},
    )  # fmt: skip
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"gpu_{name}", TOOLS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_cifar(folder: Path, number: int = 60) -> None:
    """Files laid out as CIFAR-10's: images of one colour per class, with noise."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (CLASSES, 3))
    for part in ("train", "test"):
        labels = np.arange(number) * CLASSES // number
        files = []
        for label in labels:
            noisy = 0.8 * colours[label] + rng.uniform(0, 50, (32, 32, 3))
            path = folder / "image.png"
            Image.fromarray(noisy.astype(np.uint8)).save(path)
            files.append(np.frombuffer(path.read_bytes(), np.uint8))
        np.savez(
            folder / f"cifar10_{part}.npz", jpeg=np.concatenate(files),
            offset=np.cumsum([0, *map(len, files)]), label=labels,
            classes=np.array([str(k) for k in range(CLASSES)]),
        )  # fmt: skip


def study(folder: Path, *methods: str, **changes: str) -> list[dict[str, Any]]:
    """The JSON lines of a study of two steps."""
    write_cifar(folder)
    options = {"steps": "2", "images": "40", "batch": "16", "queries": "30", "depth": "2",
               "limit": "900", **changes}  # fmt: skip
    out = folder / "out" / "study.jsonl"
    done = run(
        "study.py", "--out", str(out), "--folder", str(folder / "shared"), "--data", str(folder),
        "--methods", *methods, *(f"--{key}={value}" for key, value in options.items() if value),
    )  # fmt: skip
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["run"] for line in lines] == list(methods)
    assert all(f"| {method} | 0 |" in done.stdout for method in methods)
    return lines


@pytest.mark.slow
def test_check() -> None:
    lines = run("check.py", "methods-masked", ONLY="mae").stdout.splitlines()
    assert lines[-1] == "5 OK, 0 FAIL, 1 SKIP on the CPU".replace("5", str(len(lines) - 2))
    for what in ("float32", "bf16", "fp16"):
        assert any(f"OK   mae {what}: loss" in line for line in lines)
    assert not any("dino" in line for line in lines)


@pytest.mark.slow
def test_study(tmp_path: Path) -> None:
    (line,) = study(tmp_path, "mae")
    assert line["steps"] == 2 and line["train_seconds"] > 0 and line["loss_last"] > 0
    # a class is a colour, which even such an encoder passes on; chance is 10
    assert line["linear"] > 30 and line["knn_20"] >= 10


@pytest.mark.slow
def test_bench() -> None:
    done = run("bench.py", "bench", "--small", ONLY="mae")
    first, last = map(json.loads, done.stdout.splitlines())
    assert first["method"] == last["done"] == "mae" and first["gflops"] > 0


@pytest.mark.long
def test_all_of_it(tmp_path: Path) -> None:
    """What ought to run before a GPU is asked for."""
    run("check.py", "methods-masked", "methods-contrastive", "programs", "transfer")
    methods = program("study").METHODS
    assert not any("error" in line for line in study(tmp_path, *methods))
    for stage in ("bench", "profile"):
        assert '"failed"' not in run("bench.py", stage, "--small", ONLY="mae,mocov3").stdout


@pytest.mark.long
def test_a_study_plans_its_length(tmp_path: Path) -> None:
    """Without --steps: as many epochs as the time allows, at most those asked for."""
    lines = study(tmp_path, "random", "mae", steps="", epochs="1")
    assert lines[1]["epochs"] == 1 and lines[1]["steps"] == 40 // 16


def test_mistakes_are_said_in_words(tmp_path: Path) -> None:
    done = run("study.py", "--data", str(tmp_path), code=2)
    assert "no cifar10_train.npz" in done.stderr and "--data" in done.stderr
    assert "unknown group all" in run("check.py", "all", code=2).stderr


def test_a_group_that_dies_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    watch = program("check").Watch(time.monotonic() + 600)
    watch.group("nothing")
    assert watch.lines[0].startswith("FAIL the group ended with 2: ")
    assert "invalid choice" in capsys.readouterr().out


def test_items_say_how_they_ended(capsys: pytest.CaptureFixture[str]) -> None:
    def skipped() -> str:
        raise report.Skip("no reason")

    def failing() -> str:
        report.close("the loss", float("nan"), 1.0)
        return "never"

    assert report.item("a", lambda: "measured") == "OK"
    assert report.item("b", skipped) == "SKIP"
    assert report.item("c", failing) == "FAIL"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("OK   a: measured [") and lines[1].startswith("SKIP b: no reason [")
    assert "FAIL c: AssertionError: the loss differs by nan" in lines[2]


def test_another_result_than_the_cpus_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that computes one matrix a hundredth too large, or numbers that overflow."""
    build, scale = steps.small_bench, 1.0

    def other(*args: Any, **kwargs: Any) -> Any:
        bench = build(*args, **kwargs)
        with torch.no_grad():
            bench.model.encoder.blocks[0].mlp.fc1.weight.mul_(scale)
        return bench

    steps.on_the_cpu("mae", "cpu")
    monkeypatch.setattr(steps, "small_bench", other)
    scale = 1.5
    with pytest.raises(AssertionError, match="differs by"):
        steps.float32_step("mae", "cpu")
    scale = float("inf")
    with pytest.raises(AssertionError, match="not finite"):
        steps.bfloat16_step("mae", "cpu")


def test_a_leak_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    build, kept = steps.small_bench, []

    def leaking(*args: Any, **kwargs: Any) -> Any:
        bench = build(*args, **kwargs)
        step = bench.step
        monkeypatch.setattr(bench, "step", lambda: (step(), kept.append(torch.ones(4))))
        return bench

    monkeypatch.setattr(steps, "small_bench", leaking)
    with pytest.raises(AssertionError, match="memory grew"):
        steps.flat_memory("mae", "cpu", 6)


@pytest.mark.long
def test_the_mark_selects_this_folder_alone() -> None:
    """-m gpu does not import the other tests, which need packages that GPU machines may lack."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu",
         "--collect-only", "tests"],
        cwd=ROOT, text=True, capture_output=True, timeout=600, env=dict(os.environ),
    )  # fmt: skip
    ids = [line for line in done.stdout.splitlines() if "::" in line]
    assert len(ids) > 90 and all(i.startswith("tests/test_gpu/") and "cuda" in i for i in ids)
