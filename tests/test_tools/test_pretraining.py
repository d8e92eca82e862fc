"""tools/train.py and tools/test.py on a tiny pretraining, as real processes on real files."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from demo import make_demo_data
from mmvitssl.checkpoint import load_file
from tests.test_tools import programs
from tests.test_tools.programs import ROOT, logged, train, write_config

LOSSES = ("loss", "raw_contrastive", "raw_reconstruction", "weight_contrastive")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen real scenes over photographs."""
    out = tmp_path_factory.mktemp("data") / "demo"
    make_demo_data(out, train=16, val=2, seed=0, image_size=64)
    return out / "images" / "train"


@pytest.fixture(scope="module")
def whole_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder in which four epochs were trained without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    train(write_config(folder, data, epochs=4), "--work-dir", folder / "run")
    return folder / "run"


def losses(work_dir: Path, run_number: int = -1) -> list[list[float]]:
    return [[line[name] for name in LOSSES] for line in logged(work_dir, run_number)]


@pytest.mark.slow
def test_training_leaves_checkpoints_curves_and_moves_the_target(whole_run: Path) -> None:
    lines = logged(whole_run)
    assert [line["step"] for line in lines] == list(range(1, 17))
    assert lines[-1]["raw_reconstruction"] < lines[0]["raw_reconstruction"]
    assert {path.name for path in whole_run.glob("*.pth")} == {
        "epoch_2.pth", "epoch_3.pth", "epoch_4.pth", "last.pth"
    }  # fmt: skip
    state = load_file(whole_run / "last.pth")["state_dict"]
    assert state["target.updates"] == 16
    # the update before the last of 16 iterations
    expected = 1 - 0.01 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * 15 / 16)))
    torch.testing.assert_close(state["target.last_momentum"], expected)
    moved = state["target.modules_by_name.encoder.blocks.0.attn.qkv.weight"]
    assert not torch.equal(moved, state["encoder.blocks.0.attn.qkv.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_resume_gives_the_losses_of_the_run_that_was_not_interrupted(
    data: Path, whole_run: Path, tmp_path: Path, workers: int
) -> None:
    config = write_config(tmp_path, data, epochs=4, workers=workers)
    shutil.copytree(whole_run, tmp_path / "run")
    for name in ("epoch_3.pth", "epoch_4.pth", "last.pth"):
        (tmp_path / "run" / name).unlink()
    (tmp_path / "run" / "last_checkpoint").write_text(str(tmp_path / "run" / "epoch_2.pth"))
    train(config, "--work-dir", tmp_path / "run", "--resume")
    resumed, whole = losses(tmp_path / "run"), losses(whole_run)[8:]
    assert len(resumed) == 8
    torch.testing.assert_close(torch.tensor(resumed), torch.tensor(whole), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_killed_run_is_taken_up_again(data: Path, whole_run: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, data, epochs=4)
    command = [sys.executable, ROOT / "tools/train.py", config, "--work-dir", tmp_path / "run"]
    process = subprocess.Popen(
        [str(part) for part in command], cwd=ROOT, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env=programs.ENVIRONMENT,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "epoch_1.pth").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    train(config, "--work-dir", tmp_path / "run", "--resume", "auto")
    torch.testing.assert_close(
        torch.tensor(losses(tmp_path / "run")[-1]),
        torch.tensor(losses(whole_run)[-1]),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_at_the_same_batch(data: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, batch in ((one, 8), (two, 4)):
        folder.mkdir()
        write_config(folder, data, epochs=2, batch=batch)
    # Adam would blow up the rounding noise of gradients that are zero (the bias of the keys)
    plain = ("optim_wrapper.optimizer.type=SGD", "optim_wrapper.optimizer.lr=.05")
    options = ("--cfg-options", *plain)
    train(one / "config.py", "--work-dir", one / "run", *options)
    programs.run(
        ROOT / "tools/dist_train.sh", two / "config.py", "2", "--work-dir", two / "run", *options,
        PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin",
    )  # fmt: skip
    single, double = losses(one / "run"), losses(two / "run")
    assert len(single) == len(double) == 4
    torch.testing.assert_close(torch.tensor(double), torch.tensor(single), rtol=2e-4, atol=2e-5)
    weights = [load_file(folder / "run/last.pth")["state_dict"] for folder in (one, two)]
    for name, expected in weights[0].items():
        torch.testing.assert_close(weights[1][name], expected, rtol=1e-3, atol=1e-4, msg=name)
    metrics = programs.run(
        ROOT / "tools/dist_test.sh", two / "config.py", two / "run/last.pth", "2",
        "--work-dir", two / "test", PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin",
    ).stdout  # fmt: skip
    assert 0 < programs.value(metrics, "pretext/reconstruction_error") < 1


@pytest.mark.slow
def test_mixed_precision_and_compilation_on_cpu(data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, data, epochs=1)
    train(config, "--work-dir", tmp_path / "exact")
    train(config, "--work-dir", tmp_path / "switched", "--amp", "bf16", "--compile")
    exact, switched = losses(tmp_path / "exact"), losses(tmp_path / "switched")
    assert exact[0] != switched[0]
    # batch norm of four images enlarges the rounding of the contrast; that of pictures stays small
    assert switched[0] == pytest.approx(exact[0], abs=0.25)
    painted = LOSSES.index("raw_reconstruction")
    for one, other in zip(switched, exact, strict=True):
        assert one[painted] == pytest.approx(other[painted], rel=0.05)
    plain = load_file(tmp_path / "exact/last.pth")["state_dict"]
    assert set(load_file(tmp_path / "switched/last.pth")["state_dict"]) == set(plain)


@pytest.mark.slow
def test_evaluation_writes_metrics_predictions_and_pictures(
    data: Path, whole_run: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, data)
    output = programs.test(
        config, whole_run / "last.pth", "--work-dir", tmp_path / "test", "--out",
        tmp_path / "out/results.pkl", "--show-dir", tmp_path / "show",
    ).stdout  # fmt: skip
    relative = programs.value(output, "pretext/reconstruction_relative_error")
    assert 0 < relative < 3
    assert (tmp_path / "out/results.pkl").exists() and (tmp_path / "out/results.json").exists()
    assert len(list((tmp_path / "show").glob("reconstruction_*.png"))) == 4


@pytest.mark.slow
def test_pretrained_and_scaled_learning_rate(data: Path, whole_run: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, data, epochs=1)
    output = train(
        config, "--work-dir", tmp_path / "run", "--pretrained", whole_run / "last.pth",
        "--auto-scale-lr",
    ).stdout  # fmt: skip
    assert "tensors of the online encoder" in output and "Left out" in output
    assert logged(tmp_path / "run")[0]["lr"] == pytest.approx(1e-3 * 4 / 64, rel=1e-4)
