#!/usr/bin/env python
"""torchrun, with the exit status of the program and time to save when it is told to stop.

torchrun says 1 whatever failed, and kills its processes 30 seconds after SIGTERM. Here SIGTERM and
SIGUSR1 go on to the processes as SIGUSR1, and the launcher waits until they have ended.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

PREEMPTED = 75  # as in mmvitssl.engine.stopping, which takes seconds to import


def started() -> list[int]:
    """Ids of the processes that this one started for the program, which have a LOCAL_RANK."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            environment = (folder / "environ").read_bytes() if int(parent) == os.getpid() else b""
        except OSError:
            continue  # it ended meanwhile, or is another user's
        if b"LOCAL_RANK=" in environment:
            found.append(int(folder.name))
    return found


def pass_on(number: int, frame: Any) -> None:
    for process in started():
        os.kill(process, signal.SIGUSR1)


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, pass_on)
    try:
        run.main(["--signals-to-handle", "SIGINT,SIGHUP,SIGQUIT", *sys.argv[1:]])
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
        if status != PREEMPTED:
            print(error, file=sys.stderr)
        return status if status > 0 else 128 - status
    return 0


if __name__ == "__main__":
    sys.exit(main())
