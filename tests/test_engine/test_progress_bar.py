"""The bar that a terminal shows while a model trains."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from mmengine.logging import MMLogger
from rich.console import Console

from mmvitssl.engine import training
from mmvitssl.engine.progress_bar import clock, progress_bar
from tests.test_cli.test_pretrain import make_images
from tests.test_tools.programs import write_config


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


def test_what_is_no_terminal_gets_no_bar() -> None:
    screen = io.StringIO()
    with progress_bar(None, Console(file=screen)):  # type: ignore[arg-type]
        pass
    assert screen.getvalue() == ""
    assert clock(3723.4) == "1:02:03"
