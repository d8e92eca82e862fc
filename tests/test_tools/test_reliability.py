"""Trainings that are stopped, killed, run out of disk or hang, as real processes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from demo import make_demo_data
from mmvitssl.checkpoint import load_file
from mmvitssl.checkpoint.durable import damage_of
from mmvitssl.datasets.files import list_images
from tests.test_tools import forked, programs
from tests.test_tools.programs import ROOT, train, write_config

pytestmark = pytest.mark.slow
EPOCHS = 3  # of four iterations

Config = Callable[..., Path]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "demo"
    make_demo_data(out, train=16, val=2, seed=0, image_size=64)
    return out / "images" / "train"


def configure(folder: Path, data: Path, lines: str = "", workers: int = 2) -> Path:
    """A training whose accumulation of three iterations does not divide the epoch of four."""
    folder.mkdir(exist_ok=True)
    path = write_config(folder, data, epochs=EPOCHS, workers=workers)
    path.write_text(
        path.read_text()
        + "custom_imports = dict(imports=['tests.test_tools.troubles'])\n"
        + "optim_wrapper['accumulative_counts'] = 3\n"
        + f"dataset = train_dataloader['dataset']\nnote = '{folder}/read.txt'\n"
        + "dataset.update(type='NotedFolder', note=note)\n"
        + lines
    )
    return path


def hook(**settings: Any) -> str:
    return f"custom_hooks.append(dict(**{settings}))\n"


def watchdog(**settings: Any) -> str:
    return f"default_hooks['watchdog'] = dict(type='WatchdogHook', **{settings})\n"


def start(*arguments: str | Path) -> forked.Program:
    parts = [str(part) for part in (ROOT / "tools/train.py", *arguments)]
    return forked.Program(parts, ROOT, programs.ENVIRONMENT)


def wait_for(condition: Callable[[], bool], program: forked.Program) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline, program.output[-3000:]
        time.sleep(0.05)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    train(configure(folder, data), "--work-dir", folder / "run")
    return folder


def reads(folder: Path) -> list[str]:
    return sorted((folder / "read.txt").read_text().splitlines())


def assert_equal(run: Path, whole: Path) -> None:
    """Weights and states of the optimizer, bit for bit."""
    ours, theirs = (load_file(folder / "last.pth") for folder in (run, whole / "run"))
    assert ours["meta"]["iter"] == theirs["meta"]["iter"] == 4 * EPOCHS
    for part in ("state_dict", "optimizer"):
        torch.testing.assert_close(ours[part], theirs[part], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "workers", "at"),
    [("SIGTERM", 2, 6), ("SIGUSR1", 0, 7), pytest.param("SIGUSR1", 2, 4, marks=pytest.mark.long)],
)
def test_a_signal_saves_within_the_epoch_and_nothing_is_read_or_done_twice(
    data: Path, whole: Path, tmp_path: Path, name: str, workers: int, at: int
) -> None:
    stopping = hook(type="SignalAt", iteration=at, name=name)
    config = configure(tmp_path / "config", data, stopping, workers)
    done = train(config, "--work-dir", tmp_path / "run", ok=False)
    assert done.returncode == 75, done.stdout[-3000:]
    assert f"Stopped by {name} after iteration {at}" in done.stdout
    assert os.readlink(tmp_path / "run/last.pth") == f"iter_{at}.pth"
    (tmp_path / "config/read.txt").unlink()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    again = configure(tmp_path / "config", data, workers=workers)
    train(again, "--work-dir", tmp_path / "moved", "--resume")
    rest = reads(tmp_path / "config")
    rest.remove("0 0")  # the one sample that is looked at before training
    assert len(rest) == len(set(rest)) == 16 * EPOCHS - 4 * at
    assert_equal(tmp_path / "moved", whole)


def kill_and_resume(config: Path, run: Path, seed: int, kills: int) -> list[int]:
    """Kill a training at random moments and go on, until it ends; exit statuses."""
    rng, statuses = random.Random(seed), []
    for _ in range(kills):
        program = start(config, "--work-dir", run, "--resume")
        wait_for(lambda p=program: "Checkpoints will be saved" in p.output, program)
        time.sleep(rng.uniform(0.0, 2.0))
        program.kill(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        statuses.append(program.wait(600).returncode)
        if (run / "last.pth").exists():
            assert not damage_of(run / "last.pth")
            if load_file(run / "last.pth")["meta"]["epoch"] == EPOCHS:
                return statuses  # it ended, or was killed after its last checkpoint
    train(config, "--work-dir", run, "--resume")
    return statuses


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(s, marks=pytest.mark.long) for s in range(1, 12))]
)
def test_random_kills_change_nothing(data: Path, whole: Path, tmp_path: Path, seed: int) -> None:
    every = "default_hooks['checkpoint'].update(minutes=1e-4)\n"
    config = configure(tmp_path, data, every, workers=seed % 3)
    statuses = kill_and_resume(config, tmp_path / "run", seed, kills=3)
    assert set(statuses) <= {0, 75, -signal.SIGKILL, -signal.SIGTERM}, statuses
    assert_equal(tmp_path / "run", whole)


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_taken(
    data: Path, whole: Path, tmp_path: Path, damage: str
) -> None:
    shutil.copytree(whole / "run", tmp_path / "run", symlinks=True)
    newest = tmp_path / "run/epoch_3.pth"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    config = configure(tmp_path / "config", data)
    done = train(config, "--work-dir", tmp_path / "run", "--resume")
    assert f"{newest} is" in done.stdout and "damaged" in done.stdout
    assert f"Going on from {tmp_path / 'run/epoch_2.pth'} instead" in done.stdout
    assert_equal(tmp_path / "run", whole)
    for path in (tmp_path / "run").glob("epoch_*.pth"):
        path.write_bytes(path.read_bytes()[:1000])
    failed = train(config, "--work-dir", tmp_path / "run", "--resume", ok=False)
    assert failed.returncode == 2 and "can be resumed from" in failed.stdout
    assert "Traceback" not in failed.stdout


def test_a_full_disk_leaves_the_older_ones_and_is_said_in_one_sentence(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    keep = "default_hooks['checkpoint'].update(max_keep_ckpts=1)\n"
    full = hook(type="FullDiskAt", iteration=6, size=1_000_000)
    config = configure(tmp_path / "config", data, keep + full)
    done = train(config, "--work-dir", tmp_path / "run", ok=False)
    assert done.returncode == 2 and "Traceback" not in done.stdout, done.stdout[-3000:]
    last = done.stdout.strip().splitlines()[-2]
    assert last.startswith("error: The checkpoint") and "the disk is full" in last
    names = {path.name for path in (tmp_path / "run").glob("*pth*")}
    assert names == {"epoch_1.pth", "last.pth"} and not damage_of(tmp_path / "run/last.pth")
    assert not list((tmp_path / "run").glob(".*.part*"))
    train(configure(tmp_path / "config", data, keep), "--work-dir", tmp_path / "run", "--resume")
    assert_equal(tmp_path / "run", whole)
    assert {path.name for path in (tmp_path / "run").glob("*.pth")} == {"epoch_3.pth", "last.pth"}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("epoch_2", "SIGKILL"), ("last_checkpoint", "SIGKILL"), ("epoch_2", "SIGTERM"),
        pytest.param("iter_6", "SIGKILL", marks=pytest.mark.long),
        pytest.param("run", "SIGKILL", marks=pytest.mark.long),
        pytest.param("report", "SIGKILL", marks=pytest.mark.long),
        pytest.param("epoch_2", "SIGUSR1", marks=pytest.mark.long),
    ],
)  # fmt: skip
def test_a_signal_while_a_file_is_written_costs_nothing(
    data: Path, whole: Path, tmp_path: Path, file: str, name: str
) -> None:
    every = "default_hooks['checkpoint'].update(minutes=1e-4)\n" if file == "iter_6" else ""
    writing = hook(type="SignalWhileWriting", file=file, name=name)
    run, killed = tmp_path / "run", name == "SIGKILL"
    done = train(
        configure(tmp_path / "config", data, every + writing), "--work-dir", run, ok=False
    )
    assert done.returncode == (-signal.SIGKILL if killed else 75), done.stdout[-3000:]
    assert len(list(run.rglob(".*.part*"))) == killed
    for checkpoint in run.glob("*.pth"):
        assert not damage_of(checkpoint)
    if file == "report":  # the training is over
        page = ("report", run, "--out", run / "report.html")
        programs.run(sys.executable, "-m", "mmvitssl.cli", *page)
    else:
        train(configure(tmp_path / "config", data, every), "--work-dir", run, "--resume")
        assert not list(run.rglob(".*.part*"))
    assert_equal(run, whole)
    assert (run / "report.html").read_text().endswith("</html>")


def test_logs_that_find_no_room_do_not_end_the_training(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    """From the second iteration of an epoch to its end nothing can be written at all."""
    lines = hook(type="FullDiskAt", iteration=6, size=0, until=8) + (
        "visualizer = dict(type='Visualizer', name='visualizer', vis_backends=["
        "dict(type='LocalVisBackend'), dict(type='GroupedTensorboardBackend')])\n"
    )
    run = tmp_path / "run"
    train(configure(tmp_path / "config", data, lines), "--work-dir", run)
    assert_equal(run, whole)
    (log,) = run.glob("*/*.log")
    for words in ("The log (", "The log of the losses (", "The log of TensorBoard ("):
        assert log.read_text().count(f"WARNING - {words}{log.parent}") <= 1
    said = log.read_text()
    assert "The log of the losses" in said and "the disk is full" in said
    assert "Traceback" not in said and "goes on without it" in said
    scalars = programs.logged(run)
    assert [line["step"] for line in scalars] == [*range(1, 6)]  # tried again after a minute


def test_a_work_folder_on_another_file_system_with_an_odd_name(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    """Reached through a link, and read from data below a link."""
    shared = Path("/dev/shm")
    assert shared.stat().st_dev != tmp_path.stat().st_dev
    (tmp_path / "Bilder & mehr [é] {x}").symlink_to(data)
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        run = Path(folder) / f"été [1] {{work_dir}} 100%s $HOME 'x' \"q\" #, {'x' * 180}"
        (tmp_path / "run").symlink_to(run)
        run.mkdir()
        for lines, status in ((hook(type="SignalAt", iteration=6, name="SIGTERM"), 75), ("", 0)):
            config = configure(tmp_path / "a config", tmp_path / "Bilder & mehr [é] {x}", lines)
            done = train(config, "--work-dir", tmp_path / "run", "--resume", ok=False)
            assert done.returncode == status, done.stdout[-3000:]
        assert (tmp_path / "run").is_symlink()
        assert_equal(run, whole)
        assert (run / "report.html").is_file() and not list(run.rglob(".*.part*"))
        assert os.readlink(run / "last.pth") == "epoch_3.pth"


def test_two_trainings_in_a_folder_are_refused_and_a_dead_one_is_not_in_the_way(
    data: Path, tmp_path: Path
) -> None:
    config = configure(tmp_path / "config", data, hook(type="SleepAt", iteration=3))
    first = start(config, "--work-dir", tmp_path / "run")
    wait_for(lambda: "[1][2/4]" in first.output, first)
    second = train(config, "--work-dir", tmp_path / "run", "--resume", ok=False)
    assert second.returncode == 2 and "Another training is running in" in second.stdout
    first.kill(signal.SIGKILL)
    first.wait(60)
    train(configure(tmp_path / "config", data), "--work-dir", tmp_path / "run", "--resume")


def trouble(kind: str, folder: Path, index: int = 5) -> str:
    """The data set with one file that ``kind`` happens to."""
    os.mkfifo(folder / "pipe")
    return (
        f"dataset.pop('note')\ndataset.update(type='TroubledFolder', trouble='{kind}', "
        f"index={index}, pipe='{folder}/pipe')\n"
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stuck_reader_is_named_with_its_file(data: Path, tmp_path: Path, workers: int) -> None:
    limits = watchdog(first=4.0, least=4.0)
    config = configure(tmp_path, data, trouble("stuck", tmp_path) + limits, workers)
    done = train(config, "--work-dir", tmp_path / "run", ok=False)
    assert done.returncode == 70, done.stdout[-3000:]
    assert "rank 0" in done.stdout and "loading a batch" in done.stdout
    assert f"opened {tmp_path}/pipe" in done.stdout
    assert "Stack of rank 0" in done.stdout and "run_epoch" in done.stdout
    assert "troubles.py" in done.stdout  # where the reader stands, in a worker too
    assert f"{tmp_path}/pipe" in (tmp_path / "run/hang-rank0.txt").read_text()


def test_a_dead_worker_is_named_with_its_file(data: Path, tmp_path: Path) -> None:
    config = configure(tmp_path, data, trouble("dead", tmp_path))
    done = train(config, "--work-dir", tmp_path / "run", ok=False)
    assert done.returncode == 2, done.stdout[-3000:]
    said = done.stdout[done.stdout.index("error: ") :]
    assert "was killed by SIGKILL" in said and "between two files" not in said
    assert list_images(data)[5] in said


def test_a_stuck_step_is_named_with_its_images_and_stack(data: Path, tmp_path: Path) -> None:
    lines = watchdog(first=4.0, least=4.0) + hook(type="SleepAt", iteration=6)
    config = configure(tmp_path, data, lines)
    done = train(config, "--work-dir", tmp_path / "run", ok=False)
    assert done.returncode == 70, done.stdout[-3000:]
    said = done.stdout[done.stdout.index("error: rank 0") :]
    assert "a training step" in said and "Images of the batch: " in said and "time.sleep" in said


def distributed(config: Path, run: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", str(ROOT / "tools/dist_train.sh"), str(config), "2", "--work-dir", str(run),
         "--resume"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**programs.ENVIRONMENT, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        start_new_session=True,
    )  # fmt: skip


def of_session(leader: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def wait_for_epoch(run: Path) -> None:
    deadline = time.monotonic() + 600
    while not (run / "epoch_1.pth").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def two(folder: Path, data: Path, lines: str = "") -> Path:
    return configure(folder, data, lines + "train_dataloader['batch_size'] = 2\n")


@pytest.mark.long
def test_two_processes_stop_together_and_go_on(data: Path, tmp_path: Path) -> None:
    config, run = two(tmp_path / "config", data), tmp_path / "run"
    stopped = distributed(config, run)
    wait_for_epoch(run)
    stopped.send_signal(signal.SIGTERM)
    output = stopped.communicate(timeout=600)[0]
    assert stopped.returncode == 75 and "Stopped by" in output, output[-3000:]
    assert not damage_of(run / "last.pth")
    assert distributed(config, run).wait(600) == 0
    assert distributed(config, tmp_path / "uncut").wait(600) == 0
    # the gradients of both that wait for the third iteration are in the checkpoint
    ours, theirs = (load_file(tmp_path / n / "last.pth")["state_dict"] for n in ("run", "uncut"))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_two_processes_stop_in_the_middle_of_a_validation(data: Path, tmp_path: Path) -> None:
    """One of them gets the signal; both end after a batch, with a checkpoint to go on from."""
    validation = (
        "val_dataloader = dict(test_dataloader, batch_size=1)\n"
        "val_evaluator, val_cfg = test_evaluator, dict()\n"
        "optim_wrapper['accumulative_counts'] = 2\n"
    )
    uncut = two(tmp_path / "config", data, validation)
    note = tmp_path / "seen.txt"
    signalled = hook(type="SignalInValidation", note=str(note))
    cut, run = two(tmp_path / "cut", data, validation + signalled), tmp_path / "run"
    stopped = distributed(cut, run)
    output = stopped.communicate(timeout=600)[0]
    assert stopped.returncode == 75 and "Stopped by SIGTERM after iteration 4" in output
    seen = [tuple(map(int, line.split())) for line in note.read_text().splitlines()]
    most = [max(batch for at, batch in seen if at == rank) for rank in (0, 1)]
    assert most[1] == 1 and most[0] < 4  # of eight
    assert load_file(run / "last.pth")["meta"]["iter"] == 4
    assert distributed(uncut, run).wait(600) == 0
    assert distributed(uncut, tmp_path / "uncut").wait(600) == 0
    ours, theirs = (load_file(tmp_path / n / "last.pth")["state_dict"] for n in ("run", "uncut"))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_processes_end_with_their_launcher(data: Path, tmp_path: Path) -> None:
    config = two(tmp_path / "config", data, hook(type="SleepAt", iteration=7, only_rank=1))
    launcher = distributed(config, tmp_path / "run")
    wait_for_epoch(tmp_path / "run")
    launcher.kill()
    output = launcher.communicate(timeout=60)[0]  # until the last process has closed its end
    assert not of_session(launcher.pid)
    assert "its launcher is gone" in output


def test_a_training_of_nan_leaves_a_dump_whose_step_can_be_repeated(
    data: Path, tmp_path: Path
) -> None:
    config = configure(tmp_path, data, hook(type="PoisonAt", iteration=6))
    done = train(config, "--work-dir", tmp_path / "run", ok=False)
    assert done.returncode == 2 and "Training stopped at step 8" in done.stdout, done.stdout[-3000:]
    (dump,) = (tmp_path / "run").glob("*.dump")
    assert f"mmvitssl replay {dump}" in done.stdout
    replayed = programs.run(sys.executable, "-m", "mmvitssl.cli", "replay", dump)
    said = replayed.stdout
    assert "Step 8 of rank 0" in said and str(list_images(data)[0].rpartition("/")[0]) in said
    assert "First value that is not finite: output of encoder.blocks.2.mlp.fc1 (Linear)" in said
    assert "Losses that are not finite: loss_contrastive, loss_reconstruction" in said
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 4
    dump.write_bytes(content)
    damaged = programs.run(sys.executable, "-m", "mmvitssl.cli", "replay", dump, ok=False)
    assert damaged.returncode == 2 and "damaged" in damaged.stdout
