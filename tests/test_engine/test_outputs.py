"""Logs and trackers that fail, and the config that a training reads."""

from __future__ import annotations

import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config

from mmvitssl.engine import outputs
from mmvitssl.engine.console import with_short_console
from mmvitssl.engine.outputs import append_line, keep_going
from tests.test_writing import in_child


class Tracker:
    """A backend whose connection is lost for a while."""

    _save_dir = "somewhere"

    def __init__(self) -> None:
        self.lost, self.seen, self.asked = False, [], 0

    def add_scalar(self, name: str, value: float, step: int = 0) -> None:
        self.asked += 1
        if self.lost:
            raise RuntimeError("no route to host")
        self.seen.append(step)

    add_config = add_graph = add_image = add_scalars = close = add_scalar


def test_a_lost_tracker_is_said_once_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, said = Tracker(), list[str]()
    runner: Any = SimpleNamespace(
        logger=SimpleNamespace(warning=said.append),
        visualizer=SimpleNamespace(_vis_backends={"tracker": tracker}),
    )
    keep_going(runner)
    clock = 0.0
    monkeypatch.setattr(outputs.time, "monotonic", lambda: clock)
    for step in range(400):
        clock, tracker.lost = 1.0 * step, 100 <= step < 250
        tracker.add_scalar("loss", 1.0, step=step)
    assert len(said) == 1 and "The log of Tracker (somewhere)" in said[0]
    assert "RuntimeError: no route to host" in said[0] and "goes on without it" in said[0]
    # from step 100 on it is asked every minute, and works again at 280
    assert tracker.seen == [*range(100), *range(280, 400)] and tracker.asked == 223


def test_a_line_is_there_as_a_whole_or_not(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    for number in range(3):
        append_line(path, str(number))
    assert path.read_text() == "0\n1\n2\n"
    with pytest.raises(OSError, match="No space left"):
        append_line(Path("/dev/full"), "x")

    def beyond_the_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))  # four bytes find room
        with pytest.raises(OSError, match="File too large"):
            append_line(path, "longer")

    assert in_child(beyond_the_limit) == 0 and path.read_text() == "0\n1\n2\n"


def test_a_config_in_the_work_folder_is_not_overwritten(tmp_path: Path) -> None:
    class Plain:
        pass

    own, other = tmp_path / "run" / "config.py", tmp_path / "config.py"
    own.parent.mkdir()
    for path in (own, other):
        path.write_text("# by hand\nwidth = 1\n")
    runner = with_short_console(Plain)()  # type: ignore[arg-type, type-var]
    runner.work_dir, runner.timestamp = str(own.parent), "20260101"  # type: ignore[misc]
    for read, text in ((own, "# by hand\nwidth = 1\n"), (other, "width=2")):
        runner.cfg = Config.fromfile(read)
        runner.cfg.width = 2
        runner.dump_config()
        assert own.read_text() == text
