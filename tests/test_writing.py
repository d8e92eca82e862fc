"""Files that are written as a whole: crashes, full disks, and names that file systems refuse."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mmvitssl.writing import WriteError, whole, write_bytes, write_text

SIZE = 200_000
Writer = Callable[[Path], Any]


def figure(path: Path) -> None:
    from matplotlib.figure import Figure

    Figure(figsize=(9, 9)).savefig(path)


PIXELS = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
WRITERS: dict[str, Writer] = {
    "x.txt": lambda part: part.write_text("x" * SIZE),
    "x.npz": lambda part: np.savez(part, features=np.zeros(SIZE)),
    "x.png": lambda part: Image.fromarray(PIXELS).save(part),
    "plot.png": figure,
    "x.safetensors": lambda part: save_file({"w": torch.zeros(SIZE)}, str(part)),
}


def in_child(function: Callable[[], object]) -> int:
    """The exit status of a process that calls a function; negative: the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        except WriteError as error:
            os._exit(3 if "disk is full" in str(error) and "older one" in str(error) else 4)
        except BaseException:
            os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_keeps_the_older_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"older")

    def write() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        with whole(path) as part:
            WRITERS[name](part)

    assert in_child(write) == 3
    assert path.read_bytes() == b"older" and os.listdir(tmp_path) == [name]


def test_torch_saves_on_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(b"older")

    def write() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        write_bytes(path, lambda file: torch.save(torch.zeros(SIZE), file))

    assert in_child(write) == 3 and path.read_bytes() == b"older"


def test_a_kill_keeps_the_older_file_and_the_next_writer_removes_its_half(tmp_path: Path) -> None:
    path = tmp_path / "odd [name].txt"
    path.write_text("older")

    def write() -> None:
        with whole(path) as part:
            part.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(3):
        assert in_child(write) == -signal.SIGKILL
        assert path.read_text() == "older" and len(os.listdir(tmp_path)) == 2
    write_text(path, "newer")
    assert path.read_text() == "newer" and os.listdir(tmp_path) == [path.name]


def test_links_modes_long_names_and_devices(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "x.txt", tmp_path / "link.txt"
    write_text(target, "older")
    target.chmod(0o640)
    link.symlink_to(target)
    write_text(link, "newer")
    assert link.is_symlink() and target.read_text() == "newer"
    assert target.stat().st_mode & 0o777 == 0o640
    longest = tmp_path / ("ü" * 125 + ".txt")  # 254 bytes; a file system takes 255
    write_text(longest, "x")
    assert longest.read_text() == "x"
    with pytest.raises(WriteError, match="name too long.* Name a shorter one"):
        write_text(tmp_path / ("x" * 300), "x")
    write_text("/dev/null", "x")
    with pytest.raises(WriteError, match=r"Not a directory.* Name another place"):
        write_text(target / "x.txt", "x")
    with pytest.raises(WriteError, match="Is a directory"):
        write_text(tmp_path / "there", "x")


def test_safetensors_are_read_back(tmp_path: Path) -> None:
    with whole(tmp_path / "x.safetensors") as part:
        save_file({"w": torch.arange(3.0)}, str(part))
    assert load_file(str(tmp_path / "x.safetensors"))["w"].tolist() == [0, 1, 2]
