"""A training of local data asks no network for anything."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmvitssl.engine import training
from tests.test_tools.programs import write_config


def test_two_steps_and_the_report_open_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(*args: Any, **settings: Any) -> Any:
        asked.append(f"{args[1:]}")
        raise OSError("this test has no network")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    draw = np.random.default_rng(0)
    for number in range(8):
        pixels = draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    config = write_config(tmp_path, tmp_path, epochs=1)
    config.write_text(config.read_text() + "experiment_name = 'no_network'\n")
    args = training.parser("").parse_args([str(config), "--work-dir", str(tmp_path / "run")])
    training.prepare(args).train()
    assert (tmp_path / "run/last.pth").exists()
    assert "loss" in (tmp_path / "run/report.html").read_text()
    assert asked == []
