"""The shell launchers, with a stand-in for the programs they start."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.test_tools.programs import ROOT

TOOLS = ROOT / "tools"
USAGES = {"dist_train.sh": 1, "dist_test.sh": 2, "slurm_train.sh": 2, "slurm_test.sh": 3}


def call(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    names = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment}
    return subprocess.run(
        ["bash", str(TOOLS / script), *arguments], env=names, text=True, capture_output=True
    )


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder with an ``srun`` and a ``python`` that print their arguments, one a line."""
    for name in ("srun", "python"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\necho "$PYTHONPATH"\nprintf "%s\\n" "$@"\n')
        program.chmod(0o755)
    return tmp_path


def started(folder: Path, script: str, *arguments: str, **environment: str) -> list[str]:
    path = f"{folder}:{os.environ['PATH']}"
    done = call(script, *arguments, PATH=path, **environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == str(ROOT)
    return lines[1:]


@pytest.mark.parametrize("script", USAGES)
def test_too_few_arguments_show_the_usage(script: str) -> None:
    for number in range(USAGES[script] + 1):
        done = call(script, *["x"] * number)
        assert done.returncode == 2
        assert f"usage: tools/{script}" in done.stderr and "unbound" not in done.stderr


def test_one_machine_finds_a_free_port(stand_in: Path) -> None:
    words = started(stand_in, "dist_train.sh", "a config.py", "2", "--amp", "bf16")
    assert "--standalone" in words and words[words.index("--nproc_per_node") + 1] == "2"
    program = words.index(str(TOOLS / "train.py"))
    assert words[program + 1 :] == ["a config.py", "--amp", "bf16", "--launcher", "pytorch"]
    words = started(stand_in, "dist_test.sh", "c.py", "c.pth", "2", PORT="29511")
    assert "--standalone" not in words and words[words.index("--master_port") + 1] == "29511"
    assert words[words.index(str(TOOLS / "test.py")) + 1 :][:2] == ["c.py", "c.pth"]


def test_several_machines_must_say_who_and_where(stand_in: Path) -> None:
    done = call("dist_train.sh", "c.py", "2", NNODES="2", PYTHON=str(stand_in / "python"))
    assert done.returncode != 0 and "set NODE_RANK" in done.stderr
    words = started(
        stand_in, "dist_train.sh", "c.py", "8", NNODES="2", NODE_RANK="1", MASTER_ADDR="10.0.0.1"
    )
    for name, value in (("nnodes", "2"), ("node_rank", "1"), ("master_addr", "10.0.0.1")):
        assert words[words.index(f"--{name}") + 1] == value


@pytest.mark.parametrize("number", ["0", "two", "-1"])
def test_the_number_of_processes_is_a_number(number: str) -> None:
    done = call("dist_train.sh", "c.py", number)
    assert done.returncode == 2 and f"not '{number}'" in done.stderr


def test_slurm_asks_for_what_was_asked_for(stand_in: Path) -> None:
    words = started(
        stand_in, "slurm_train.sh", "gpu", "my job", "c.py", "--work-dir", "out",
        GPUS="16", SRUN_ARGS="--time=1:00 --exclusive",
    )  # fmt: skip
    assert {"--partition=gpu", "--job-name=my job", "--ntasks=16", "--gres=gpu:8"} <= set(words)
    assert {"--time=1:00", "--exclusive", "--kill-on-bad-exit=1"} <= set(words)
    program = words.index(str(TOOLS / "train.py"))
    assert words[program + 1 :] == ["c.py", "--work-dir", "out", "--launcher", "slurm"]
    words = started(stand_in, "slurm_test.sh", "gpu", "job", "c.py", "c.pth", GPUS="1")
    assert {"--ntasks=1", "--ntasks-per-node=1", "--gres=gpu:1"} <= set(words)


def test_slurm_starts_a_stopped_training_again(tmp_path: Path) -> None:
    srun = f"#!/bin/sh\nprintf '%s|' \"$@\" >> {tmp_path}/calls; echo >> {tmp_path}/calls\n"
    for name, lines in (
        ("srun", srun + f"[ $(wc -l < {tmp_path}/calls) -ge 3 ] || exit 75\nexit 3\n"),
        ("scontrol", f'#!/bin/sh\necho "$@" > {tmp_path}/requeued\n'),
    ):
        (tmp_path / name).write_text(lines)
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = call("slurm_train.sh", "gpu", "job", "c.py", "--work-dir", "out", PATH=path)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert done.returncode == 3 and len(calls) == 3  # until it ends in another way
    assert all("--signal=USR1@120|" in line for line in calls)
    assert ["--resume|--launcher|slurm|" in line for line in calls] == [False, True, True]

    (tmp_path / "calls").unlink()  # within a batch job
    done = call("slurm_train.sh", "gpu", "job", "c.py", PATH=path, SLURM_JOB_ID="17",
                SLURM_RESTART_COUNT="2")  # fmt: skip
    assert (tmp_path / "requeued").read_text() == "requeue 17\n" and done.returncode == 75
    assert "--resume|" in (tmp_path / "calls").read_text()

    (tmp_path / "calls").write_text("\n\n")  # a failure is a failure, of a test too
    done = call("slurm_test.sh", "gpu", "job", "c.py", "c.pth", PATH=path)
    assert done.returncode == 3 and "--signal" not in (tmp_path / "calls").read_text()


def test_a_batch_script_is_found_from_slurms_copy_of_it(stand_in: Path, tmp_path: Path) -> None:
    copy = tmp_path / "slurm_script"
    copy.write_text((TOOLS / "slurm_train.sh").read_text())
    path = f"{stand_in}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(copy), "gpu", "job", "c.py"], text=True, capture_output=True,
        env={"PATH": path, "SLURM_SUBMIT_DIR": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0 and str(TOOLS / "train.py") in done.stdout
    assert "#SBATCH --signal=USR1@120\n#SBATCH --requeue\n" in copy.read_text()
