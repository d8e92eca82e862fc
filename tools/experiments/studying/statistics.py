"""Means over seeds, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student


@dataclass(frozen=True)
class Summary:
    """Values of one metric over seeds.

    Attributes:
        mean: of the values.
        error: standard error of the mean; None for one value.
        count: how many values.
    """

    mean: float
    error: float | None
    count: int

    @property
    def interval(self) -> float | None:
        """Half the width of the 95 % confidence interval of the mean (Student's t)."""
        if self.error is None:
            return None
        return float(student.ppf(0.975, self.count - 1)) * self.error


def summarise(values: Sequence[float]) -> Summary:
    """Mean and standard error of values of different seeds."""
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return Summary(fmean(values), error, len(values))


def standard_errors(values: Sequence[float], baseline: Sequence[float]) -> float | None:
    """Difference of two means in standard errors of the difference; None if one has one value."""
    one, other = summarise(values), summarise(baseline)
    if one.error is None or other.error is None:
        return None
    spread = math.hypot(one.error, other.error)
    return (one.mean - other.mean) / spread if spread else math.inf
