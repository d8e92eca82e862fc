#!/usr/bin/env python
"""Kill trainings and damage files at random, until a number of trials is reached.

Each trial is a function of its kind and number, and runs in a process of its own. Its outcome is
one line of a JSON Lines file. Trials that the file already holds are not repeated, so that a soak
can be stopped and started again. Exit status 1 means that some trial went wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 300  # after which a trial counts as hung
WRONG = ("wrong", "crash", "hang")
Trial = Callable[[int], dict[str, Any]]


def outcome_of(trial: Trial, number: int) -> dict[str, Any]:
    """What a trial returns, or the traceback of what it raises."""
    try:
        return trial(number)
    except TimeoutError as error:
        return {"outcome": "hang", "what": str(error)}
    except BaseException:
        return {"outcome": "crash", "what": traceback.format_exc()[-4000:]}


def isolated(trial: Trial, number: int, seconds: float = SECONDS) -> dict[str, Any]:
    """Run a trial in a fork: signals and hangs are outcomes too."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        with os.fdopen(os.open(os.devnull, os.O_WRONLY), "w") as nowhere:
            for stream in (1, 2):
                os.dup2(nowhere.fileno(), stream)
            with os.fdopen(write, "w") as pipe:
                pipe.write(json.dumps(outcome_of(trial, number)))
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        if not select.select([pipe], [], [], seconds)[0]:
            os.kill(child, signal.SIGKILL)
        text = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if text:
        return dict(json.loads(text))
    ended = {"outcome": "crash", "what": f"ended with status {status}"}
    return {"outcome": "hang", "what": f"{seconds} s"} if status == -signal.SIGKILL else ended


def finished(path: Path) -> list[dict[str, Any]]:
    """Trials in a file; a last line that was cut off does not count."""
    lines = path.read_text().splitlines() if path.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def weight(line: dict[str, Any]) -> int:
    """What a trial counts for."""
    return int(line.get("counts", 1))


def soak(kind: str, trial: Trial, goal: int, path: Path, first: int = 0) -> list[dict[str, Any]]:
    """Run the trials that a file does not hold yet, and append their outcomes.

    Args:
        kind: of the trials.
        trial: returns ``outcome``, what else is to be kept of a number, and ``counts`` if it counts
            for more than one.
        goal: what the trials are to count together.
        path: JSON Lines file.
        first: number of the first trial.

    Returns:
        The trials from ``first`` on.
    """
    done = {line["number"]: line for line in finished(path) if line["kind"] == kind}
    lines: list[dict[str, Any]] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if file.tell() and not path.read_text().endswith("\n"):
            file.write("\n")
        while sum(map(weight, lines)) < goal:
            number = first + len(lines)
            lines.append(done.get(number) or _tried(kind, trial, number))
            if number not in done:
                file.write(json.dumps(lines[-1]) + "\n")
                file.flush()
    return lines


def _tried(kind: str, trial: Trial, number: int) -> dict[str, Any]:
    start = time.monotonic()
    alone = getattr(trial, "starts_processes", False)
    result = outcome_of(trial, number) if alone else isolated(trial, number)
    if result["outcome"] in WRONG:
        print(f"{kind} {number}: {result}", flush=True)
    seconds = round(time.monotonic() - start, 3)
    return {"kind": kind, "number": number, **result, "seconds": seconds}


def summary(kind: str, lines: list[dict[str, Any]], goal: int) -> str:
    """One line about the trials of a kind."""
    number = sum(map(weight, lines))
    outcomes = Counter(str(line["outcome"]) for line in lines)
    parts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    return f"{kind}: reached {number} of {goal} in {len(lines)} trials: {parts or 'none'}"


def main() -> int:
    """The command."""
    sys.path[:0] = [str(ROOT)]
    from tests.test_soak.kinds import KINDS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS], help="default: all")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/soak/trials.jsonl"))
    parser.add_argument("--goal", type=int, help="of each kind; default: a number per kind")
    parser.add_argument("--first", type=int, default=0, help="number, and so seed, of the first")
    args = parser.parse_args()
    failed = False
    for name in args.kinds or KINDS:
        prepare, goal = KINDS[name]
        goal = args.goal or goal
        lines = soak(name, prepare(args.out.parent / name), goal, args.out, args.first)
        print(summary(name, lines, goal), flush=True)
        failed |= any(line["outcome"] in WRONG for line in lines)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
