"""The bar that a terminal shows while a model trains."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from mmengine.logging import MMLogger
from rich.console import Console

from mmvitssl.engine import training
from mmvitssl.engine.progress_bar import clock, progress_bar
from tests.test_cli.test_pretrain import make_images
from tests.test_tools.programs import ENVIRONMENT, ROOT, train, write_config


@pytest.mark.slow
def test_a_terminal_shows_a_bar_and_no_line_per_step(tmp_path: Path) -> None:
    MMLogger._instance_dict.clear()
    config = write_config(tmp_path, make_images(tmp_path / "data", 8, ()), epochs=3)
    words = [str(config), "--work-dir", str(tmp_path / "run"), "--cfg-options"]
    args = training.parser(None).parse_args([*words, "default_hooks.checkpoint.interval=2"])
    runner = training.prepare(args)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=300)
    with progress_bar(runner, console):
        runner.train()
    text = screen.getvalue()
    assert "Epoch(train)" not in text and "Saving checkpoint at 2 epochs" in text
    for part in ("epoch 3/3", "images/s", "waiting for data", "loss_contrastive", "0:00:00 left"):
        assert part in text, part
    left = [int(h) * 3600 + int(m) * 60 + int(s)
            for h, m, s in re.findall(r"(\d+):(\d\d):(\d\d) left", text)]  # fmt: skip
    assert left == sorted(left, reverse=True)
    kept = next((tmp_path / "run").glob("*/*.log")).read_text()
    assert kept.count("Epoch(train)") == 6


def play(command: list[str], columns: int) -> tuple[int, str]:
    """Run a program in a terminal of its own; its status, and what it wrote there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    env = {key: value for key, value in ENVIRONMENT.items() if key not in ("COLUMNS", "LINES")}
    env["TERM"] = "xterm-256color"
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=ROOT, start_new_session=True
    )
    os.close(slave)
    written = b""
    with contextlib.suppress(OSError):  # the last writer has closed its end
        while part := os.read(master, 1 << 16):
            written += part
    os.close(master)
    return process.wait(60), written.decode()


@pytest.mark.slow
def test_the_program_shows_the_bar_in_a_real_terminal_and_lines_in_a_pipe(tmp_path: Path) -> None:
    data = make_images(tmp_path / "data", 16, ())
    config = write_config(tmp_path, data, epochs=3)
    command = [sys.executable, str(ROOT / "tools/train.py"), str(config), "--work-dir"]
    status, screen = play([*command, str(tmp_path / "terminal")], columns=100)
    assert status == 0, screen[-3000:]
    plain = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", screen)
    assert "the first step is computed" in plain and "Epoch(train)" not in plain
    shown = [line for line in re.split(r"[\r\n]+", plain) if " left" in line]
    assert len(shown) >= 3 and all(len(line) <= 100 for line in shown)
    for part in (r"epoch 3/3", r"[\d.]+ images/s", r"\d+% waiting", r"[\d.]+ GiB", r"loss \d"):
        assert re.search(part, shown[-1]), (part, shown[-1])
    left = [int(h) * 3600 + int(m) * 60 + int(s)
            for h, m, s in re.findall(r"(\d+):(\d\d):(\d\d) left", plain)]  # fmt: skip
    assert left == sorted(left, reverse=True) and left[-1] == 0

    options = ["--cfg-options", "default_hooks.logger.interval=50"]
    piped = train(config, "--work-dir", tmp_path / "piped", *options).stdout
    before, _, after = piped.partition("First step: loss ")
    assert len(before.splitlines()) <= 40, before
    assert re.match(r"[\d.]+, loss_\w+ [\d.-]+, .* GiB, [\d.]+ s\.", after)
    assert "\x1b[2K" not in piped


def test_clocks() -> None:
    assert clock(3723.4) == "1:02:03"
