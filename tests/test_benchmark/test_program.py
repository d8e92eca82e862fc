"""The program itself."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.data import write_photographs
from mmvitssl.engine import launch

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tools/benchmark.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_steps_print_nothing_but_lines() -> None:
    small = ("--arch", "ViT-S/16", "--image-size", "32", "--batch-size", "2", "--repeat", "1")
    methods = ("simclr", "simclr@48", "simclr+checkpointing")
    done = run("--method", *methods, "--against", "mocov2", "--amp", "bf16", *small)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["method"] for line in lines] == ["mocov2", *methods]
    assert "against" not in lines[0] and lines[1]["against"] == "mocov2"
    assert lines[2]["gflops"] > lines[1]["gflops"] == lines[3]["gflops"]
    assert 0 < lines[3]["recomputed_gflops"] < lines[3]["gflops"] / 3
    assert all(line["gflops"] > 0 and line["mfu"] > 0 for line in lines)


@pytest.mark.slow
def test_pipelines(tmp_path: Path) -> None:
    write_photographs(tmp_path, 3)
    config = ROOT / "configs/mae/mae_vit-base_64xb64-cosine-800e_in1k.py"
    done = run("--data", str(config), "--images", str(tmp_path), "--repeat", "1",
               "--batch-size", "2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert line["pipeline"] == "ours" and "decode" in line["stages_ms_per_image"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "mea"), "error: No config mea/"),
        (("--method", "mae", "--peer", "mmpretrain", "--against", "mae"), "choose one"),
        (("--method", "mae", "--images", "."), "--images belongs to --data"),
        (("--method", "mae", "--hooks", "--peer", "timm"), "--hooks goes with --method alone"),
        (("--method", "mae+bf16"), "is followed by checkpointing or packed"),
        (("--method", "mae@big"), "'@' is followed by an image size"),
        (("--data", "x.py", "--peer", "plain"), "no data pipeline"),
        (("--data", "x.py", "--peer", "timm"), "timm has training steps, no data pipeline"),
        (("--method", "mae", "--peer", "plain"), "there is one of lomar, not of mae"),
        (("--method", "mae", "--repeat", "0"), "must be at least 1"),
        (("--method", "dino", "--arch", "Swin-B"), "--arch Swin-B is unknown"),
        (("--data", "configs/nothing.py"), "nothing.py"),
        ((), "one of the arguments --method --data is required"),
    ],
)
def test_mistakes_are_said_in_words(
    arguments: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = importlib.util.spec_from_file_location("benchmark_program", PROGRAM)
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *arguments])
    with pytest.raises(SystemExit) as caught:
        launch.run_or_explain(program.main)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
