"""Several steps side by side."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.step import Bench, matmul_rate

WARMUP = 2


@dataclass(frozen=True)
class Measurement:
    """Times and counts of one bench.

    Attributes:
        name: of the bench.
        seconds: of each step.
        batch_size: images a step.
        parameters: trained ones.
        flops: that a step needs, what checkpointing recomputes not included.
        recomputed: operations of what checkpointing recomputes.
        rate: of a matrix product, measured in the same run; operations a second.
        peak_bytes: greatest memory of a step; None where the system does not tell.
    """

    name: str
    seconds: tuple[float, ...]
    batch_size: int
    parameters: int
    flops: int
    rate: float
    peak_bytes: int | None
    recomputed: int = 0

    @property
    def median(self) -> float:
        """Seconds of the middle step."""
        return statistics.median(self.seconds)

    @property
    def mfu(self) -> float:
        """Operations that the step needs over what matrix products alone do in the time."""
        return self.flops / (self.median * self.rate)

    def values(self) -> dict[str, object]:
        """What is known, in the units of the JSON line."""
        values: dict[str, object] = {
            "method": self.name,
            "median_s": round(self.median, 4),
            "min_s": round(min(self.seconds), 4),
            "images_per_s": round(self.batch_size / self.median, 2),
            "parameters": self.parameters,
            "gflops": round(self.flops / 1e9, 2),
            "mfu": round(self.mfu, 3),
            "matmul_gflops_per_s": round(self.rate / 1e9, 1),
            "peak_mib": None if self.peak_bytes is None else round(self.peak_bytes / 2**20),
        }
        if self.recomputed:
            values["recomputed_gflops"] = round(self.recomputed / 1e9, 2)
        return values

    def over(self, other: Measurement) -> dict[str, object]:
        """Ratios of this over another of the same run; times step by step."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        ratios: dict[str, object] = {
            "against": other.name,
            "time_ratio": round(statistics.median(a / b for a, b in pairs), 3),
            "min_ratio": round(min(self.seconds) / min(other.seconds), 3),
            "flops_ratio": round(self.flops / other.flops, 3),
        }
        if self.peak_bytes and other.peak_bytes:
            ratios["peak_ratio"] = round(self.peak_bytes / other.peak_bytes, 3)
        return ratios

    def line(self, against: Measurement | None = None) -> str:
        """One JSON line; ``against`` adds ratios of this over another."""
        return json.dumps({**self.values(), **(self.over(against) if against else {})})


def measure(
    benches: Sequence[Bench], repeat: int, amp: str = "fp32", warmup: int = WARMUP
) -> list[Measurement]:
    """Take turns step by step, so that what else the machine does meets all alike.

    Every second round runs backwards, so that none is always the one behind another. Before the
    timed steps each bench makes ``warmup`` steps, one that is counted and one whose memory is
    measured.

    Args:
        benches: what to compare, on one device.
        repeat: timed steps of each.
        amp: 'fp32' or 'bf16', for the rate of a matrix product: the best before and after.
        warmup: steps before.
    """
    device = benches[0].device.type
    rate = matmul_rate(device, amp)
    flops, peaks = [], []
    for bench in benches:
        flops.append(bench.flops())
        for _ in range(warmup):
            bench.step()
        peaks.append(bench.peak_bytes())
    times: list[list[float]] = [[] for _ in benches]
    for round_number in range(repeat):
        order = range(len(benches))
        for index in reversed(order) if round_number % 2 else order:
            times[index].append(benches[index].timed())
    rate = max(rate, matmul_rate(device, amp))
    return [
        Measurement(
            bench.name, tuple(seconds), bench.batch_size, bench.parameters, count.total, rate,
            peak, count.recomputed,
        )
        for bench, seconds, count, peak in zip(benches, times, flops, peaks, strict=True)
    ]  # fmt: skip
