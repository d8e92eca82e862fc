"""Several steps side by side."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mmvitssl.benchmark.step import StepBench, matmul_rate


@dataclass(frozen=True)
class Measurement:
    """Times and counts of one bench.

    Attributes:
        name: of the bench.
        seconds: of each step.
        batch_size: images a step.
        parameters: trained ones.
        flops: of a step.
        rate: of a matrix product, measured in the same run; operations a second.
        peak_bytes: greatest device memory; None on a CPU.
    """

    name: str
    seconds: tuple[float, ...]
    batch_size: int
    parameters: int
    flops: int
    rate: float
    peak_bytes: int | None

    @property
    def median(self) -> float:
        """Seconds of the middle step."""
        return statistics.median(self.seconds)

    def line(self, against: Measurement | None = None) -> str:
        """One JSON line; ``against`` adds ratios over another, step by step of the same run."""
        values: dict[str, object] = {
            "method": self.name,
            "median_s": round(self.median, 4),
            "min_s": round(min(self.seconds), 4),
            "images_per_s": round(self.batch_size / self.median, 2),
            "parameters": self.parameters,
            "gflops": round(self.flops / 1e9, 2),
            "mfu": round(self.flops / self.median / self.rate, 3),
        }
        if self.peak_bytes is not None:
            values["peak_mib"] = round(self.peak_bytes / 2**20)
        if against is not None:
            pairs = zip(self.seconds, against.seconds, strict=True)
            values["against"] = against.name
            values["time_ratio"] = round(statistics.median(a / b for a, b in pairs), 3)
            values["min_ratio"] = round(min(self.seconds) / min(against.seconds), 3)
            values["flops_ratio"] = round(self.flops / against.flops, 3)
        return json.dumps(values)


def measure(
    benches: Sequence[StepBench], repeat: int, amp: str = "fp32", warmup: int = 2
) -> list[Measurement]:
    """Take turns step by step, so that what else the machine does meets all alike.

    Args:
        benches: what to compare.
        repeat: timed steps of each.
        amp: 'fp32' or 'bf16', for the rate of a matrix product: the best before and after.
        warmup: steps before.
    """
    device = benches[0].device.type
    rate = matmul_rate(device, amp)
    flops = [bench.flops() for bench in benches]
    for bench in benches:
        for _ in range(warmup):
            bench.step()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    times: list[list[float]] = [[] for _ in benches]
    for _ in range(repeat):
        for bench, seconds in zip(benches, times, strict=True):
            seconds.append(bench.timed())
    rate = max(rate, matmul_rate(device, amp))
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return [
        Measurement(
            bench.name, tuple(seconds), bench.batch_size, bench.parameters, count, rate, peak
        )
        for bench, seconds, count in zip(benches, times, flops, strict=True)
    ]
