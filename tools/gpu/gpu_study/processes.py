"""All runs of the study as processes, at once next to a GPU, and how long they train."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Run = tuple[str, int]  # method and seed
MARK = "RESULT "
COLUMNS = ("run", "seed", "epochs", "knn_20", "knn_20_cls", "linear")
TRAINED_SHARE = 0.75  # of the time that is left; the rest is for probes and what is slower later


@dataclass
class Study:
    """Starts runs, plans their length and collects their results.

    Attributes:
        args: of tools/gpu/study.py.
        program: its file.
        end: when all must be done, by :func:`time.monotonic`.
    """

    args: argparse.Namespace
    program: str
    end: float
    processes: dict[Run, subprocess.Popen[str]] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.folder = Path(self.args.folder)

    @property
    def runs(self) -> list[Run]:
        """Every method with every seed."""
        return [(method, seed) for seed in self.args.seeds for method in self.args.methods]

    def start(self, run: Run) -> None:
        """Start a run in a process of its own."""
        method, seed = run
        command = [
            sys.executable, self.program, *sys.argv[1:], "--run", method, "--seeds", str(seed),
            "--images", str(self.args.images), "--end", str(self.end),
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "2"}
        self.processes[run] = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )

    def collect(self, run: Run) -> None:
        """Wait for a run and append its JSON line to the file; a run that died has an error."""
        process = self.processes[run]
        timer = threading.Timer(max(self.end - time.monotonic(), 1), process.kill)
        timer.start()
        output = process.communicate()[0].splitlines()
        timer.cancel()
        found = [line.removeprefix(MARK) for line in output if line.startswith(MARK)]
        error = f"exit {process.returncode}: {' | '.join(output[-3:])[:400]}"
        text = found[-1] if found else json.dumps({"run": run[0], "seed": run[1], "error": error})
        with self.lock:
            self.lines.append(json.loads(text))
            with open(self.args.out, "a") as file:
                file.write(text + "\n")
            print(text, flush=True)

    def forget_plan(self) -> None:
        """Remove what earlier runs told each other."""
        for old in [*self.folder.glob("*.rate"), *self.folder.glob("plan*")]:
            old.unlink()

    def _rate(self, run: Run) -> float | None:
        """Steps per second that a run told; None where it has not yet."""
        path = self.folder / "{}-{}.rate".format(*run)
        text = path.read_text() if path.exists() else ""
        return float(text) if text else None

    def plan(self, runs: list[Run]) -> None:
        """Wait until the runs have timed some steps, then tell all for how many epochs to train.

        Runs that take too long to start are not waited for.
        """
        training = [run for run in runs if run[0] != "random"]
        patience = time.monotonic() + 0.35 * self.args.limit
        while training and time.monotonic() < self.end - 30:
            alive = [run for run in training if self.processes[run].poll() is None]
            rates = [rate for run in alive if (rate := self._rate(run)) is not None]
            late = time.monotonic() > patience
            if rates and (late or len(rates) == len(alive)):
                self._write_plan(rates, len(training))
                return
            if not alive:
                return
            time.sleep(0.2)

    def _write_plan(self, rates: list[float], number: int) -> None:
        left = self.end - time.monotonic() - 30
        per_epoch = max(self.args.images // self.args.batch, 1)
        epochs = int(TRAINED_SHARE * left * min(rates) / per_epoch)
        epochs = max(1, min(self.args.epochs, epochs))
        (self.folder / "plan.new").write_text(str(epochs))
        (self.folder / "plan.new").rename(self.folder / "plan")
        text = ", ".join(f"{rate:.1f}" for rate in rates)
        print(f"{epochs} epochs; steps per second of {len(rates)} of {number} runs: {text}",
              flush=True)  # fmt: skip

    def at_once(self) -> None:
        """All runs share the GPU."""
        for run in self.runs:
            self.start(run)
        threads = [threading.Thread(target=self.collect, args=(run,)) for run in self.runs]
        for thread in threads:
            thread.start()
        if self.args.steps is None:
            self.plan(self.runs)
        for thread in threads:
            thread.join()

    def one_by_one(self) -> None:
        """Each run has the machine for itself."""
        for run in self.runs:
            self.start(run)
            if self.args.steps is None:
                self.forget_plan()
                self.plan([run])
            self.collect(run)

    def table(self) -> str:
        """The results as a Markdown table, in the order of the methods."""
        rows = [
            "| method | seed | epochs | kNN, k = 20 | kNN of class tokens | linear |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        order = {run: number for number, run in enumerate(self.runs)}
        for line in sorted(self.lines, key=lambda line: order[line["run"], line["seed"]]):
            cells = " | ".join(str(line.get(column, "-")) for column in COLUMNS)
            rows.append(f"| {cells} |" + (f" {line['error']}" if "error" in line else ""))
        return "\n".join(rows)
