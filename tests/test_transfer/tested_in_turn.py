"""Test models one after another in each process: ``CONFIG CHECKPOINT OUT SHOW ...``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from mmvitssl.engine import launch

PROGRAM = Path(__file__).parents[2] / "tools/test.py"


def main() -> None:
    program = runpy.run_path(str(PROGRAM))["main"]
    runs = list(zip(*[iter(sys.argv[1:])] * 4, strict=True))
    for number, (config, checkpoint, out, show) in enumerate(runs):
        sys.argv[1:] = [
            config, checkpoint, "--work-dir", f"{out}.logs", "--out", out, "--launcher", "pytorch",
            *(["--show-dir", show] if show != "-" else []), "--cfg-options",
            # else the second run would log to the first one's files
            f"experiment_name=run{number}", f"visualizer.name=run{number}",
        ]  # fmt: skip
        program()


if __name__ == "__main__":
    launch.run_or_explain(main)
