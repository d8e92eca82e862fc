"""Long commands, run one after the other, with one progress display over all of them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

ETA = re.compile(r"eta: (?:(\d+) days?, )?(\d+):(\d\d):(\d\d)")
SHOWN_OF_LOG = 25
PLAIN_INTERVAL = 15.0


class StepFailed(RuntimeError):
    """A command that failed; the message says which, where its log is, and the end of it."""


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: also of its log file.
        title: what a person reads.
        command: program and arguments.
        expected: seconds that it took where it was measured; only for the ETA.
        result: a file that it leaves when it succeeds.
    """

    name: str
    title: str
    command: Sequence[str]
    expected: float
    result: Path

    def shell(self) -> str:
        """The command as one would type it in the project's environment."""
        program = "python" if self.command[0] == sys.executable else self.command[0]
        return shlex.join([program, *self.command[1:]])


def seconds_left(line: str) -> float | None:
    """The ETA that a line of MMEngine's log names, in seconds."""
    found = ETA.search(line)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


class StepRunner:
    """Runs steps; those that have run with the same command are skipped.

    Args:
        folder: for logs and records of finished steps.
        cwd: where the commands run.
    """

    def __init__(self, folder: Path, cwd: Path) -> None:
        self.folder = folder
        self.cwd = cwd
        folder.mkdir(parents=True, exist_ok=True)
        self.console = Console()
        self._speed = 1.0  # seconds here over seconds expected, of the steps so far
        self._spent = self._planned = 0.0

    def _record(self, step: Step) -> Path:
        return self.folder / f"{step.name}.json"

    def is_done(self, step: Step) -> bool:
        """Whether the step has succeeded before with the same command."""
        record = self._record(step)
        if not record.is_file() or not step.result.exists():
            return False
        return json.loads(record.read_text())["command"] == list(step.command)

    def run(self, steps: Sequence[Step]) -> None:
        """Run all steps that are not done.

        Raises:
            StepFailed: the first that fails.
        """
        live = self.console.is_terminal
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        with Progress(*columns, console=self.console, disable=not live) as progress:
            total = sum(step.expected for step in steps)
            bar = progress.add_task("starting", total=total, left="")
            before = 0.0
            for number, step in enumerate(steps, start=1):
                title = f"{number}/{len(steps)} {step.title}"
                later = sum(other.expected for other in steps[number:])
                if self.is_done(step):
                    self.console.print(f"{title}: done before")
                else:
                    self._run_one(step, title, before, later, progress, bar)
                before += step.expected
                progress.update(bar, completed=before)

    def _run_one(
        self, step: Step, title: str, before: float, later: float, progress: Progress, bar: int
    ) -> None:
        log = self.folder / f"{step.name}.log"
        started = time.monotonic()
        shown = -PLAIN_INTERVAL
        with log.open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(
                list(step.command),
                cwd=self.cwd,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
            try:
                while process.poll() is None:
                    elapsed = time.monotonic() - started
                    left = self._left(log, step, elapsed)
                    share = elapsed / max(elapsed + left, 1e-6)
                    text = _in_words(left + later * self._speed)
                    progress.update(
                        bar,  # type: ignore[arg-type]
                        description=title,
                        completed=before + share * step.expected,
                        left=text,
                    )
                    if progress.disable and elapsed - shown >= PLAIN_INTERVAL:
                        shown = elapsed
                        print(f"{title}: {share:.0%}, {text}", flush=True)
                    time.sleep(0.5)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        seconds = time.monotonic() - started
        self._finish(step, title, log, process.returncode, seconds)

    def _left(self, log: Path, step: Step, elapsed: float) -> float:
        """Seconds left of a running step: by its own log, else by what was expected."""
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 4000))
            lines = stream.read().decode(errors="replace").splitlines()
        etas = [left for left in map(seconds_left, reversed(lines)) if left is not None]
        if etas:
            return etas[0]
        return max(step.expected * self._speed - elapsed, 1.0)

    def _finish(self, step: Step, title: str, log: Path, status: int, seconds: float) -> None:
        if status != 0 or not step.result.exists():
            end = log.read_text(errors="replace").splitlines()[-SHOWN_OF_LOG:]
            what = f"failed with status {status}" if status else f"left no {step.result}"
            raise StepFailed(
                f"The step '{step.title}' {what}.\n  command: {step.shell()}\n  log: {log}\n"
                + "\n".join(f"  | {line}" for line in end)
                + "\nMend the cause and run the same command again: finished steps are kept."
            )
        self._spent += seconds
        self._planned += step.expected
        self._speed = self._spent / self._planned
        record = {"command": list(step.command), "seconds": round(seconds, 1)}
        self._record(step).write_text(json.dumps(record))
        self.console.print(f"{title}: {seconds:.0f} s")

    def seconds(self, step: Step) -> float:
        """How long a finished step took."""
        return json.loads(self._record(step).read_text())["seconds"]


def _in_words(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"about {minutes} min left" if minutes else "less than a minute left"


def explain(error: StepFailed) -> None:
    """Print a failure for a person."""
    print(f"\nerror: {error}", file=sys.stderr)
