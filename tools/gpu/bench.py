#!/usr/bin/env python
"""tools/benchmark.py for many methods in one process; one that fails does not stop the next.

bench.py bench|compile|peer|timm|profile [--small]: each result is printed at once as a JSON line.
``--small`` (always without a GPU) takes ViT-S at 128 pixels, batches of 2 and one step, uncompiled.
Environment: ONLY=mae,dino limits the methods, STAGE_SECONDS the time.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import torch  # noqa: E402

# images of a step, sized for 80 GB: methods with one view, with two, with ten crops
ONE, TWO, MANY = 256, 128, 64
BATCHES = {
    **dict.fromkeys(("mae", "lomar", "cae", "beit", "simmim"), ONE),
    **dict.fromkeys(("repre-mocov3", "mocov3", "mtssl", "byol", "simclr", "moby"), TWO),
    "dino": MANY,
}
SMALL_BATCH = 2
CALLS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize",
         "cudaMemcpyAsync", "cudaLaunchKernel", "aten::item")  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """Methods that are measured with the same options.

    Attributes:
        methods: in order of importance; the time may be short.
        options: of tools/benchmark.py, one list per run of each method.
    """

    methods: tuple[str, ...]
    options: tuple[tuple[str, ...], ...] = ((),)


STAGES = {
    "bench": Stage(("mae", "repre-mocov3", "mocov3", "lomar", "cae", "beit", "mtssl", "dino",
                    "simmim", "byol", "simclr", "moby")),
    "compile": Stage(("mae", "repre-mocov3", "mocov3", "lomar", "cae", "dino"), (("--compile",),)),
    "peer": Stage(("mae", "mocov3", "beit", "cae", "simclr", "byol", "simmim"),
                  (("--peer", "mmpretrain"),)),
    "timm": Stage(("mae",), (("--peer", "timm"), ("--peer", "timm", "--compile"))),
    "profile": Stage(("mae", "repre-mocov3", "lomar", "mtssl")),
}  # fmt: skip


def benchmark_program() -> ModuleType:
    """tools/benchmark.py as a module."""
    spec = importlib.util.spec_from_file_location("benchmark", ROOT / "tools/benchmark.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command_line(method: str, options: tuple[str, ...], small: bool) -> list[str]:
    """Arguments of tools/benchmark.py."""
    batch = SMALL_BATCH if small else BATCHES[method]
    common = ["--method", method, "--batch-size", str(batch), "--amp", "bf16"]
    if small:
        rest = [option for option in options if option != "--compile"]
        return [*common, "--arch", "ViT-S/16", "--image-size", "128", "--repeat", "1", *rest]
    return [*common, "--arch", "ViT-B/16", "--repeat", "10", *options]


def emit(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def guarded(name: str, work: Callable[[], None], end: float) -> bool:
    """Run; an error is printed as a JSON line. False where it failed."""
    if time.monotonic() > end - 10:
        emit(skipped=name, why="no time left")
        return True
    start, failed = time.monotonic(), False
    try:
        work()
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
        emit(failed=name, error=f"{type(error).__name__}: {error}"[:600], where=where)
        failed = True
    gc.collect()
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    emit(done=name, seconds=round(time.monotonic() - start, 1))
    return not failed


def measured(program: ModuleType, arguments: list[str]) -> None:
    """One run of tools/benchmark.py."""
    sys.argv = ["benchmark.py", *arguments]
    program.main()


def profiled(program: ModuleType, method: str, arguments: list[str], steps: int = 3) -> None:
    """Print where the time of some steps goes: kernels, share in which the GPU works, waits."""
    from torch.profiler import ProfilerActivity, profile

    from benchmark import StepBench

    sys.argv = ["benchmark.py", *arguments]
    bench = program.bench_of(StepBench, method, program.parse_args())
    cuda = torch.cuda.is_available()
    for _ in range(steps):
        bench.step()
    plain = sum(bench.timed() for _ in range(steps))
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=kinds) as recorded:
        for _ in range(steps):
            bench.step()
        if cuda:
            torch.cuda.synchronize()
    events = recorded.key_averages()
    key = "self_device_time_total" if cuda else "self_cpu_time_total"
    kernels = [e for e in events if not cuda or e.device_type == torch.autograd.DeviceType.CUDA]
    busy = sum(getattr(event, key) for event in kernels) / 1e6
    emit(
        profile=method, batch=bench.batch_size, ms_per_step=round(plain / steps * 1e3, 1),
        kernels_ms_per_step=round(busy / steps * 1e3, 1), busy_share=round(busy / plain, 3),
        steps=steps, calls={event.key: event.count for event in events if event.key in CALLS},
    )  # fmt: skip
    print(events.table(sort_by=key, row_limit=18, max_name_column_width=70), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    from mmengine.logging import MMLogger

    MMLogger.get_instance("benchmark", log_level="ERROR")
    small = args.small or not torch.cuda.is_available()
    end = time.monotonic() + float(os.environ.get("STAGE_SECONDS", 1e9))
    program, stage = benchmark_program(), STAGES[args.stage]
    only = [name for name in os.environ.get("ONLY", "").split(",") if name]
    fine = True
    for method in stage.methods:
        if only and method not in only:
            continue
        for options in stage.options:
            arguments = command_line(method, options, small)
            work = partial(measured, program, arguments)
            if args.stage == "profile":
                work = partial(profiled, program, method, arguments)
            fine &= guarded(" ".join((method, *options)), work, end)
    return int(not fine)


if __name__ == "__main__":
    sys.exit(main())
