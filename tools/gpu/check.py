#!/usr/bin/env python
"""Check that everything works on the GPU; each check prints OK, FAIL or SKIP and what it measured.

check.py [GROUP...]: each group runs in a process of its own, at once next to a GPU, and none stops
another. Without a GPU the same code runs on the CPU. Environment: ONLY=mae,dino limits the methods,
STAGE_SECONDS the time of all groups. Exit status 1 where something failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

warnings.filterwarnings("ignore")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools"), str(ROOT / "tools/gpu")]

import torch  # noqa: E402

GROUPS = ("methods-masked", "methods-contrastive", "compile", "programs", "transfer")
COMPILED = ("mae", "repre-mocov3", "lomar")
MEMORY = ("repre-mocov3", "moby", "mtssl-all")
Check = tuple[str, Callable[[], str]]


def device_name() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def wanted(names: tuple[str, ...]) -> list[str]:
    """The methods of ONLY among these; without ONLY all."""
    only = [name for name in os.environ.get("ONLY", "").split(",") if name]
    return [name for name in names if not only or name in only]


def method_checks(names: tuple[str, ...], device: str) -> list[Check]:
    from gpu_checks import steps

    kinds: dict[str, Callable[[str, str], str]] = {
        "float32": steps.float32_step,
        "bf16": steps.bfloat16_step,
        "fp16": steps.float16_step,
        "no waiting": steps.step_without_waiting,
    }
    checks: list[Check] = []
    for name in wanted(names):
        checks += [(f"{name} {kind}", partial(run, name, device)) for kind, run in kinds.items()]
        if name in MEMORY:
            number = 200 if device == "cuda" else 20
            checks.append((f"{name} memory", partial(steps.flat_memory, name, device, number)))
    return checks


def run_methods(group: str, device: str, folder: Path) -> None:
    from gpu_checks import augment, collectives, small
    from gpu_checks.report import item

    masked = group == "methods-masked"
    for check in method_checks(small.MASKED if masked else small.CONTRASTIVE, device):
        item(*check)
    if masked:
        item("DeviceAugment", partial(augment.device_augment, device))
        item("ResidentImages", partial(augment.resident_images, device))
    else:
        item("collectives", partial(collectives.collectives, device))
        item("mocov3 in a group", partial(collectives.distributed_step, "mocov3", device))


def run_compiled(group: str, device: str, folder: Path) -> None:
    from gpu_checks import steps
    from gpu_checks.report import item

    methods = wanted(COMPILED)
    for name in methods if device == "cuda" else methods[:1]:
        item(f"{name} compiled", partial(steps.compiled_step, name, device))


def run_programs(group: str, device: str, folder: Path) -> None:
    from gpu_checks.programs import Trainings, fsdp
    from gpu_checks.report import item, together

    trainings = Trainings(device, folder / "trainings")
    item("train.py, RePre on MoCo v3", trainings.whole)
    checks: list[Check] = [
        ("resume", trainings.resumed),
        ("dist_train.sh, 1 process", trainings.torchrun),
        ("FSDP, 1 process", partial(fsdp, device, folder / "fsdp")),
    ]
    for arguments in (("--amp", "bf16"), ("--amp", "fp16"), ("--amp", "bf16", "--compile")):
        checks.append((f"train.py {' '.join(arguments)}", partial(trainings.variant, *arguments)))
    together([partial(item, *check) for check in checks], device)


def run_transfer(group: str, device: str, folder: Path) -> None:
    from demo import make_demo_data
    from gpu_checks import transfer
    from gpu_checks.report import item, together

    data = folder / "data"
    make_demo_data(data, train=8, val=4, seed=0, image_size=128)
    item("mmcv operators", partial(transfer.operators, device))
    for name in transfer.CONFIGS:
        item(f"{name} step", partial(transfer.dense_step, name, device, data))
    trainings = transfer.DenseTrainings(device, folder, data, 10 if device == "cuda" else 2)
    checks: list[Check] = [
        (f"{name} {precision}", partial(trainings.train, name, precision))
        for name in transfer.CONFIGS
        for precision in ("fp32", "bf16", "fp16")
    ]
    together([partial(item, *check) for check in checks], device)


RUNS = dict(
    zip(GROUPS, (run_methods, run_methods, run_compiled, run_programs, run_transfer), strict=True)
)


def run_group(name: str) -> None:
    """All checks of a group, in this process."""
    from mmengine.logging import MMLogger

    MMLogger.get_instance("check", log_level="ERROR")
    device = device_name()
    torch.set_num_threads(4 if device == "cuda" else 1)
    with tempfile.TemporaryDirectory() as folder:
        RUNS[name](name, device, Path(folder))


class Watch:
    """Runs groups as processes and collects the lines of their checks.

    Args:
        end: when they are stopped, by :func:`time.monotonic`.
    """

    def __init__(self, end: float) -> None:
        self.end, self.lines, self.lock = end, [], threading.Lock()  # type: ignore[var-annotated]

    def tell(self, group: str, line: str) -> None:
        with self.lock:
            self.lines.append(line)
            print(f"{group[:11]:11} {line}", flush=True)

    def group(self, name: str) -> None:
        """Run a group to its end; a group that dies counts as a check that failed."""
        command = [sys.executable, __file__, "--group", name]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stderr is not None
        errors: list[str] = []
        reader = threading.Thread(target=lambda s: errors.extend(s), args=(process.stderr,))
        reader.daemon = True
        reader.start()
        timer = threading.Timer(max(self.end - time.monotonic(), 1), process.kill)
        timer.start()
        for line in process.stdout:
            if line.startswith(("OK", "FAIL", "SKIP")):
                self.tell(name, line.rstrip())
        code = process.wait()
        timer.cancel()
        reader.join(5)
        if code:
            last = " | ".join([error.strip() for error in errors if error.strip()][-3:])[:600]
            self.tell(name, f"FAIL the group ended with {code}: {last}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--group", choices=GROUPS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = [name for name in args.groups if name not in GROUPS]
    if unknown:
        parser.error(f"unknown group {unknown[0]}; choose from {', '.join(GROUPS)}")
    if args.group:
        run_group(args.group)
        return 0
    from gpu_checks.report import STATUSES, together

    watch = Watch(time.monotonic() + float(os.environ.get("STAGE_SECONDS", 3600)))
    groups = args.groups or GROUPS
    together([partial(watch.group, name) for name in groups], device_name())
    count = {s: sum(line.startswith(s) for line in watch.lines) for s in STATUSES}
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
    print(f"{count['OK']} OK, {count['FAIL']} FAIL, {count['SKIP']} SKIP on {card}")
    return int(count["FAIL"] > 0)


if __name__ == "__main__":
    sys.exit(main())
