"""What the demo says of its runs: one seed, or several with their standard errors."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.job import INITIALISATIONS, TRANSFERS, DemoJob
from demo.outcome import DECIDING, gains, results_table
from demo.report import side_by_side


def job_with(folder: Path, pretrained: float, random: float, seed: int = 0) -> DemoJob:
    """A job whose every metric is the same number for each initialisation."""
    job = DemoJob(folder, seed=seed)
    for transfer in TRANSFERS:
        for init, value in zip(INITIALISATIONS, (pretrained, random), strict=True):
            job.folder(transfer, init).mkdir(parents=True)
            path = job.folder(transfer, init) / "metrics.json"
            path.write_text(json.dumps(dict.fromkeys(transfer.metrics, value)))
    return job


def test_one_seed_is_said_to_be_one(tmp_path: Path) -> None:
    jobs = [job_with(tmp_path, 30.0, 20.0)]
    header, rows = results_table(jobs)
    assert header == ["", "pretrained", "random", "difference"]
    assert all(row[1:] == ["30.0", "20.0", "10.0"] for row in rows)
    assert [(value, holds) for _, value, holds in gains(jobs)] == [("10.0", True)] * len(TRANSFERS)
    assert all("(one seed)" in words for words, _, _ in gains(jobs))
    assert all(
        key in transfer.metrics for transfer in TRANSFERS for key in [DECIDING[transfer.name]]
    )


# differences 10, 12, 14: mean 12, standard error 2 / sqrt(3); 1, 12, 23: 11 / sqrt(3)
@pytest.mark.parametrize(
    ("random", "error", "holds"),
    [((20.0, 18.0, 16.0), "1.2", True), ((29.0, 18.0, 7.0), "6.4", False)],
)
def test_several_seeds_must_differ_by_two_standard_errors(
    tmp_path: Path, random: tuple[float, ...], error: str, holds: bool
) -> None:
    jobs = [job_with(tmp_path / str(seed), 30.0, value, seed) for seed, value in enumerate(random)]
    for words, value, found in gains(jobs):
        assert "by 2 standard errors over 3 seeds" in words
        assert value == f"12.0 ± {error}" and found == holds


def test_seeds_have_their_own_data_logs_and_randomness(tmp_path: Path) -> None:
    first, second = DemoJob(tmp_path), DemoJob(tmp_path / "seed1", seed=1)
    names = [step.name for job in (first, second) for step in job.steps()]
    assert len(set(names)) == len(names)
    for step in second.steps():
        text = step.shell()
        assert str(second.work_dir) in text
        assert "--seed 1" in text or "randomness.seed=1" in text or "tools/test.py" in text


def test_side_by_side_keeps_the_truth_once(tmp_path: Path) -> None:
    for name, value in (("a", 100), ("b", 200)):
        pixels = np.full((4, 12, 3), value, dtype=np.uint8)
        pixels[:, :6] = 50
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    joined = np.asarray(Image.open(BytesIO(side_by_side([tmp_path / "a.png", tmp_path / "b.png"]))))
    assert joined.shape == (4, 18, 3)
    assert joined[0, ::6, 0].tolist() == [50, 100, 200]
