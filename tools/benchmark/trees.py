"""Compare the training steps of two checkouts, which take turns step by step.

    python tools/benchmark/trees.py BEFORE AFTER --method mae dino --arch ViT-S/16 --batch-size 4

Each checkout makes its steps in a process of its own, with its own code, configs and benchmark. A
JSON line per method: the median, over the rounds, of the time BEFORE takes over the time AFTER
takes (1.1: the second one is a tenth faster). Times are processor time, so that other programs on
the machine count little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

WORKER = """
import json, sys, time
import mmvitssl.compat
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from benchmark import StepBench, load_config
method, arch, batch, warmup = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
MMLogger.get_instance("trees", log_level="ERROR")
init_default_scope("mmvitssl")
bench = StepBench(method, load_config(method, arch), batch)
for _ in range(warmup):
    bench.step()
print(json.dumps({"parameters": bench.parameters}), flush=True)
for _ in sys.stdin:
    start = time.process_time()
    bench.step()
    print(json.dumps({"seconds": time.process_time() - start}), flush=True)
"""


class Tree:
    """The steps of a method as a checkout makes them.

    Args:
        root: of the checkout.
        arguments: method, architecture, batch size and steps before the timed ones.
    """

    def __init__(self, root: Path, arguments: list[str]) -> None:
        paths = os.pathsep.join([str(root), str(root / "tools")])
        self.method = arguments[0]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", WORKER, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root,
            env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
        self.parameters = int(self._read("parameters"))

    def _read(self, name: str) -> float:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(f'{{"{name}"'):
                return float(json.loads(line)[name])
        raise SystemExit(f"error: the steps of {self.method} ended early.")

    def step(self) -> float:
        """Seconds of processor time of one step."""
        assert self.process.stdin is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return self._read("seconds")

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def compare(before: Path, after: Path, arguments: list[str], repeat: int) -> dict[str, object]:
    """Ratios of the times of two checkouts, of which every second round runs backwards."""
    trees = [Tree(root.resolve(), arguments) for root in (before, after)]
    times: list[list[float]] = [[], []]
    for number in range(repeat):
        for index in (1, 0) if number % 2 else (0, 1):
            times[index].append(trees[index].step())
    for tree in trees:
        tree.close()
    ratios = sorted(a / b for a, b in zip(*times, strict=True))
    return {
        "method": arguments[0],
        "before_s": round(statistics.median(times[0]), 3),
        "after_s": round(statistics.median(times[1]), 3),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_of_shortest": round(min(times[0]) / min(times[1]), 3),
        "rounds": repeat,
        "parameters": [tree.parameters for tree in trees],
    }


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("--method", nargs="+", required=True, help="as for tools/benchmark.py")
    parser.add_argument("--arch", default="ViT-S/16")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=10, help="rounds, of a step of each")
    parser.add_argument("--warmup", type=int, default=2, help="steps of each before")
    args = parser.parse_args()
    for method in args.method:
        arguments = [method, args.arch, str(args.batch_size), str(args.warmup)]
        print(json.dumps(compare(args.before, args.after, arguments, args.repeat)), flush=True)


if __name__ == "__main__":
    main()
