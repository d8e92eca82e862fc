"""The program that makes shards, as a process: ended by force, on a full disk, on bad input."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmvitssl.datasets import ShardedImages
from tests.marks import some
from tests.test_tools.programs import ROOT

PROGRAM = [sys.executable, str(ROOT / "tools/data/make_shards.py")]
LIMITED = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def write_images(root: Path, number: int = 60) -> Path:
    rng = np.random.default_rng(0)
    for i in range(number):
        folder = root / f"class{i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, size=(32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    return root


def command(*arguments: object) -> list[str]:
    return [*PROGRAM, *map(str, arguments)]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which takes seconds to import what it needs."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        arguments, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300
    )


Here = Callable[..., tuple[int, str]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The program in this process: its exit status, and what it printed or ended with."""

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", command(*arguments)[1:])
        try:
            runpy.run_path(PROGRAM[1], run_name="__main__")
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
            return status, f"{end.code}" + "".join(capsys.readouterr())
        return 0, capsys.readouterr().out

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def images(folder: Path) -> list[bytes]:
    data = ShardedImages(str(folder), [])
    return [data.encoded(number) for number in range(len(data))]


@pytest.mark.slow
@pytest.mark.parametrize("kind", some(["tar", "lmdb"], lambda kind: kind == "tar"))
def test_killed_and_taken_up_again_it_writes_the_same(
    tmp_path: Path, kind: str, here: Here
) -> None:
    if kind == "lmdb":
        pytest.importorskip("lmdb")
    source = write_images(tmp_path / "images", 400)
    out, whole = tmp_path / "out", tmp_path / "whole"
    options = ["--format", kind, "--shard-size", 2, "--labelled", "--workers", 1]
    process = subprocess.Popen(
        command(source, out, *options), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(3):  # a line a shard
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (out / "dataset.json").exists()
    first = out / "shard-000000.tar"
    written = first.stat().st_mtime_ns if kind == "tar" else 0
    assert here(source, out, *options)[0] == 0
    assert here(source, whole, *options)[0] == 0
    assert images(out) == images(whole) and len(images(out)) == 400
    if kind == "tar":
        assert first.stat().st_mtime_ns == written
        assert contents(out) == contents(whole)
    assert "complete already" in here(source, out, *options)[1]


def test_a_write_that_fails_is_explained_and_can_be_gone_on_with(
    tmp_path: Path, here: Here
) -> None:
    source, out = write_images(tmp_path / "images", 12), tmp_path / "out"
    limited = [sys.executable, "-c", LIMITED.format(limit=20000)]
    options = ["--shard-size", 4]
    small = sorted(source.rglob("*.png"))[:4]
    for path in small:  # the first shard fits
        Image.new("RGB", (8, 8)).save(path)
    failed = run([*limited, *command(source, out, *options)[1:]])
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert "error: " in failed.stderr and "shard-000001.tar cannot be written" in failed.stderr
    assert "make room and run the same command again" in failed.stderr
    assert [path.name for path in sorted(out.glob("*.tar"))] == ["shard-000000.tar"]
    assert here(source, out, *options)[0] == 0
    assert images(out) == [path.read_bytes() for path in sorted(source.rglob("*.png"))]
    assert not [path for path in out.iterdir() if path.name.endswith(".tmp")]


def test_packed_images_and_lists(tmp_path: Path, here: Here) -> None:
    source = write_images(tmp_path / "images", 6)
    files = sorted(source.rglob("*.png"))
    data = [np.frombuffer(path.read_bytes(), dtype=np.uint8) for path in files]
    np.savez(
        tmp_path / "x.npz",
        jpeg=np.concatenate(data),
        offset=np.concatenate([[0], np.cumsum([len(part) for part in data])]),
        label=np.arange(6) % 2,
        classes=np.array(["even", "odd"]),
    )
    assert here(tmp_path / "x.npz", tmp_path / "packed")[0] == 0
    packed = ShardedImages(str(tmp_path / "packed"), [])
    assert packed.labels is not None and packed.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert packed.classes == ("even", "odd")
    lines = [f"{path.relative_to(source)} {k % 3}" for k, path in enumerate(files[:4])]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    listed = here(tmp_path / "list.txt", tmp_path / "listed", "--root", source, "--labelled")
    assert listed[0] == 0
    assert images(tmp_path / "listed") == images(tmp_path / "packed")[:4]
    assert ShardedImages(str(tmp_path / "listed"), []).reader.labels.tolist() == [0, 1, 2, 0]  # type: ignore[union-attr]
    status, text = here("--verify", tmp_path / "listed")
    assert status == 0 and "4 images are as written" in text


def test_bad_input_is_named(tmp_path: Path, here: Here) -> None:
    status, text = here(tmp_path / "nowhere", tmp_path / "out")
    assert status == 1 and text.startswith("error: There is no folder")
    source = write_images(tmp_path / "images", 4)
    victim = source / "class1" / "001.png"
    victim.write_bytes(victim.read_bytes()[:100])
    status, text = here(source, tmp_path / "out")
    assert status == 1 and "001.png cannot be read" in text
    status, text = here(source, tmp_path / "other", "--max-broken", 1)
    assert status == 0 and "3 images, 1 left out" in text
    info = json.loads((tmp_path / "other" / "dataset.json").read_text())
    assert info["broken"] == [str(victim)]
    assert here(source)[0] == 2
