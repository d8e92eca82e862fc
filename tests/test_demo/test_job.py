"""The demo's steps: progress, failures, what is kept; and the whole of it, tiny."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from demo.job import INITIALISATIONS, TRANSFERS, DemoJob
from demo.outcome import chance
from demo.steps import Step, StepFailed, StepRunner, seconds_left
from mmvitssl.checkpoint import load_file
from tests.test_tools.programs import ROOT, run


def step(folder: Path, code: str, name: str = "one") -> Step:
    return Step(name, f"title of {name}", [sys.executable, "-c", code], 1.0, folder / name)


def writes(path: Path) -> str:
    return f"import pathlib; pathlib.Path({str(path)!r}).write_text('x')"


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("Epoch(train) [1][5/35]  lr: 1e-3  eta: 0:04:12  time: 0.6", 252),
        ("Iter(test) [ 5/60]    eta: 1:00:16  time: 0.3073", 3616),
        ("Iter(train) [5/9]  eta: 2 days, 1:00:00", 49 * 3600),
        ("Saving checkpoint at 1 epochs", None),
    ],
)
def test_time_left_is_read_from_the_log(line: str, seconds: int | None) -> None:
    assert seconds_left(line) == seconds


def test_finished_steps_are_kept_and_changed_ones_run_again(tmp_path: Path) -> None:
    runner = StepRunner(tmp_path / "steps", tmp_path)
    first = step(tmp_path, writes(tmp_path / "one"))
    runner.run([first])
    (tmp_path / "one").write_text("kept")
    runner.run([first])
    assert (tmp_path / "one").read_text() == "kept"
    runner.run([step(tmp_path, writes(tmp_path / "one") + ";")])
    assert (tmp_path / "one").read_text() == "x"
    (tmp_path / "one").unlink()
    assert not runner.is_done(first)


@pytest.mark.parametrize(
    ("code", "what"),
    [("print('the reason'); raise SystemExit(3)", "failed with status 3"), ("pass", "left no")],
)
def test_a_failure_names_step_command_log_and_reason(tmp_path: Path, code: str, what: str) -> None:
    runner = StepRunner(tmp_path / "steps", tmp_path)
    with pytest.raises(StepFailed, match=what) as caught:
        runner.run([step(tmp_path, code)])
    text = str(caught.value)
    assert "title of one" in text and "python -c" in text and "one.log" in text
    assert "finished steps are kept" in text
    if "reason" in code:
        assert "the reason" in text


def test_chance() -> None:
    assert chance(16) == pytest.approx(2 * 3.43399, abs=1e-4)


def test_both_initialisations_differ_in_nothing_else(tmp_path: Path) -> None:
    job = DemoJob(tmp_path)
    for transfer in TRANSFERS:
        pretrained, random = (job.transfer_steps(transfer, init)[0] for init in INITIALISATIONS)
        only = [part for part in pretrained.command if part not in random.command]
        assert only[-2:] == ["--pretrained", str(job.pretrained)] and len(only) == 3


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_whole_demo_tiny(tmp_path: Path) -> None:
    """Every command of the demo, a few steps each, as a user starts it."""
    done = run(sys.executable, ROOT / "tools/demo.py", "--tiny", "--work-dir", tmp_path / "demo")
    work = tmp_path / "demo"
    assert f"report: {work / 'report.html'}" in done.stdout and "mask AP" in done.stdout
    page = (work / "report.html").read_text()
    assert (
        page.count("<img") >= 12
        and "from random weights" in page
        and "tools/train.py" in page
        and "CC BY 2.0" in page
    )
    for transfer in TRANSFERS:
        for init in INITIALISATIONS:
            metrics = json.loads((work / f"{transfer.name}_{init}" / "metrics.json").read_text())
            assert set(transfer.metrics) <= set(metrics)
    # the encoder that training started from is the pretrained one: two small steps later it is near
    encoder = load_file(work / "pretrain/last.pth")["state_dict"]
    name = "blocks.0.mlp.fc1.weight"
    start = encoder[f"encoder.{name}"]
    after = {
        init: load_file(work / f"upernet_{init}" / "last.pth")["state_dict"][
            f"backbone.encoder.{name}"
        ]
        for init in INITIALISATIONS
    }
    assert torch.dist(after["pretrained"], start) < 0.1 * torch.dist(after["random"], start)
    again = run(sys.executable, ROOT / "tools/demo.py", "--tiny", "--work-dir", work)
    assert again.stdout.count("done before") == 11
