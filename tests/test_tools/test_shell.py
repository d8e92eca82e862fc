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
