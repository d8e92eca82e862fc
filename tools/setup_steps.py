"""Running the steps of the set-up: what a person sees while they work and when they fail.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HEARTBEAT = 15.0
POLL = 0.3
NINJA = re.compile(r"^\s*\[(\d+)/(\d+)\]")
UV = re.compile(r"^\s*(Resolved|Downloading|Downloaded|Building|Built|Prepared|Installed) (.+)")

Progress = Callable[[str, float], "str | None"]


class SetupError(RuntimeError):
    """A step that cannot be done; the message says what to do about it."""


ADVICE = (
    (r"No space left on device|Disk quota exceeded", "free some disk space: about 10 GB for the "
     "environment (VENV=... chooses another folder) and 4 GB for temporary files (TMPDIR=...)"),
    (r"ensurepip is not available|No module named '?(venv|ensurepip)", "install Python's venv "
     "module (Debian: apt install python3-venv)"),
    (r"SSLError|CERTIFICATE_VERIFY_FAILED|invalid peer certificate", "the package index's "
     "certificate is not trusted here: name your certificates with PIP_CERT=/path/to/ca.crt"),
    (r"name resolution|Name or service not known|NewConnectionError|Read timed out|ProxyError|"
     r"Connection (refused|reset)|Network is unreachable|dns error|Failed to fetch|"
     r"operation timed out|tunnel error", "the package index was not reached: "
     "check the network and the proxy (`pip config list` shows the index in use)"),
    (r"Could not find a version that satisfies|No matching distribution|No solution found|"
     r"was not found in the package registry", "the package index lacks "
     "a pinned version: check the index in use (`pip config list`) and this Python's version"),
    (r"Python\.h: No such file", "install Python's headers (Debian: apt install python3-dev)"),
    (r"Killed signal terminated program|cannot allocate memory|std::bad_alloc", "the compiler ran "
     "out of memory: run again with MAX_JOBS=1"),
    (r"too old version of GCC|unrecognized command.line option .*std=", "the compiler is too old: "
     "install g++ 9.3 or newer"),
    (r"undefined symbol|GLIBC(XX)?_[\d.]+' not found|ImportError: .*_ext", "the compiled mmcv "
     "does not fit this machine: delete the folder that the step 'mmcv' named, or run `uv cache "
     "clean onedl-mmcv`, and run again"),
    (r"Permission denied", "choose folders that you may write: VENV=... for the environment, "
     "XDG_CACHE_HOME=... for what is kept between checkouts"),
)  # fmt: skip


def advice(log: str) -> str:
    """What to do about a failure, from what its log says."""
    for sign, words in ADVICE:
        if re.search(sign, log, re.IGNORECASE):
            return words
    return "read the log, mend the cause and run the same command again: downloads are kept"


def failure(title: str, command: Sequence[str], text: str, log: Path) -> str:
    """What a person needs to know about a failed command."""
    end = "\n".join(f"  | {line}" for line in text.splitlines()[-15:])
    return (
        f"The step '{title}' failed.\n  command: {' '.join(command)}\n  log: {log}\n"
        f"{end}\nWhat to do: {advice(text)}."
    )


def duration(seconds: float) -> str:
    """An estimate in words."""
    return f"about {round(seconds / 60)} min" if seconds >= 90 else f"about {round(seconds)} s"


def clock(seconds: float) -> str:
    """Elapsed time as minutes:seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def compile_progress(line: str, elapsed: float) -> str | None:
    """What a line of pip or ninja says of the compilation, in words; None if nothing new."""
    if "building 'mmcv._ext'" in line:
        return "compiling mmcv ops, the first of them"
    found = NINJA.match(line)
    if found is None:
        return uv_progress(line, elapsed)
    done, total = int(found.group(1)), int(found.group(2))
    left = duration(elapsed / max(done, 1) * (total - done))
    return f"compiling mmcv ops {done}/{total}, {left} left"


def uv_progress(line: str, elapsed: float) -> str | None:
    """What a line of uv says, in words; None for lines that say nothing new."""
    found = UV.match(line)
    return f"{found.group(1).lower()} {found.group(2).strip()}" if found else None


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a command and everything that it started, compilers included."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


class Steps:
    """Runs numbered steps, says what goes on, and keeps their logs.

    Args:
        total: number of steps.
        logs: folder for the logs, one for each step.
        heartbeat: seconds between lines of progress.
    """

    def __init__(self, total: int, logs: Path, heartbeat: float = HEARTBEAT) -> None:
        self.total = total
        self.logs = logs
        self.heartbeat = heartbeat
        self.number = 0
        self.title = ""
        self.started = time.monotonic()

    @property
    def log(self) -> Path:
        return self.logs / f"{self.number:02d}.log"

    def announce(self, title: str) -> None:
        """Begin the next step, with an empty log."""
        self.number += 1
        self.title = title
        self.logs.mkdir(parents=True, exist_ok=True)
        self.log.write_text("")
        elapsed = clock(time.monotonic() - self.started)
        print(f"[{self.number}/{self.total}] {elapsed:>5}  {title}", flush=True)

    def run(
        self,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        progress: Progress = uv_progress,
    ) -> str:
        """Run a command with its output in the step's log, and say now and then how far it is.

        Args:
            command: the program and its arguments.
            env: additions to the environment.
            progress: turns a line of output and the seconds so far into words, or None.

        Returns:
            The command's output.

        Raises:
            SetupError: it failed.
        """
        words = [str(part) for part in command]
        with self.log.open("a", encoding="utf-8", errors="replace") as stream:
            stream.write(f"$ {' '.join(words)}\n")
            stream.flush()
            start = stream.tell()
            process = subprocess.Popen(
                words,
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
            try:
                self._watch(process, start, progress)
            finally:
                stop(process)
        text = self._output(start)
        if process.returncode:
            raise SetupError(failure(self.title, words, text, self.log))
        return text

    def _output(self, start: int) -> str:
        return self.log.read_bytes()[start:].decode("utf-8", errors="replace")

    def _watch(self, process: subprocess.Popen[bytes], start: int, progress: Progress) -> None:
        """Wait for a command, with a line of progress at every heartbeat."""
        started = shown = time.monotonic()
        words = "working"
        with self.log.open(encoding="utf-8", errors="replace") as reader:
            reader.seek(start)
            while process.poll() is None:
                time.sleep(POLL)
                now = time.monotonic()
                for line in reader.readlines():
                    words = progress(line, now - started) or words
                if now - shown >= self.heartbeat:
                    shown = now
                    print(f"      {clock(now - self.started):>5}  {words}", flush=True)
