"""How checks report what they found, and how they run side by side."""

from __future__ import annotations

import gc
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
STATUSES = ("OK", "FAIL", "SKIP")


class Skip(Exception):
    """There is nothing to check on this device; the message says why."""


def close(what: str, value: float, limit: float) -> None:
    """Fail unless ``value`` is at most ``limit``; NaN fails.

    Raises:
        AssertionError: it is larger.
    """
    if not value <= limit:
        raise AssertionError(f"{what} differs by {value:.2e}, more than {limit:.0e}")


def in_words(error: Exception) -> str:
    """The first and the last line of an error, and the line of ours that it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)] or frames
    lines = str(error).strip().splitlines() or [""]
    end = f" | {lines[-1][:200]}" if len(lines) > 1 else ""
    where = f" ({Path(ours[-1].filename).name}:{ours[-1].lineno})" if ours else ""
    return f"{type(error).__name__}: {lines[0][:300]}{end}{where}"


def item(name: str, check: Callable[[], str]) -> str:
    """Run one check and print its line: status, name, what was measured, seconds.

    Returns:
        'OK', 'FAIL' or 'SKIP'. An error of the check is printed, not raised.
    """
    start = time.monotonic()
    try:
        status, text = "OK", check()
    except Skip as reason:
        status, text = "SKIP", str(reason)
    except Exception as error:
        status, text = "FAIL", in_words(error)
    seconds = time.monotonic() - start
    print(f"{status:4} {name}: {text} [{seconds:.1f} s]", flush=True)
    gc.collect()
    return status


def together(works: Sequence[Callable[[], object]], device: str) -> None:
    """Run at once next to a GPU, one after the other elsewhere (unless PARALLEL is set)."""
    if device == "cpu" and not os.environ.get("PARALLEL"):
        for work in works:
            work()
        return
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
