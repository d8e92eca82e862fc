"""Pretext losses on held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from mmvitssl.registry import METRICS


@METRICS.register_module()
class PretextMetric(BaseMetric):
    """Mean of every task's raw loss and metrics over a data set, weighted by batch size.

    Where a task gives ``<task>_error`` and ``<task>_mean_colour_error`` (reconstruction), their
    ratio is reported too: 1 is no better than predicting each image's mean colour.
    """

    default_prefix = "pretext"

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the scalars of one batch."""
        self.results.extend(dict(sample) for sample in data_samples)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Weighted means by name."""
        total = sum(result["batch_size"] for result in results)
        names = [name for name in results[0] if name != "batch_size"]
        means = {
            name: sum(result[name] * result["batch_size"] for result in results) / total
            for name in names
        }
        for name in names:
            if name.endswith("_mean_colour_error"):
                task = name.removesuffix("_mean_colour_error")
                means[f"{task}_relative_error"] = means[f"{task}_error"] / max(means[name], 1e-12)
        return means
