"""Pretext losses on held-out images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from mmvitssl.registry import METRICS

KEPT = ("batch_size", "index")  # of a batch, beside its scalars


@METRICS.register_module()
class PretextMetric(BaseMetric):
    """Mean of every task's raw loss and metrics over a data set, weighted by batch size.

    Processes may have different numbers of images, or none. Losses that compare images of a batch
    (contrastive ones) depend on how a process's images are cut into batches.

    Where a task returns ``<task>_error`` and ``<task>_mean_colour_error`` (reconstruction), their
    ratio is reported too: 1 is no better than predicting each image's mean colour. A loss that is
    NaN for a batch is NaN for the data set.
    """

    default_prefix = "pretext"

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the scalars of one batch."""
        self.results.extend(dict(sample) for sample in data_samples)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Weighted means by name.

        Raises:
            ValueError: no images, or a sampler that repeats some to fill up processes.
        """
        if not results:
            raise ValueError("PretextMetric got no images: the evaluation's data set is empty.")
        seen = Counter(index for result in results for index in result.get("index", ()))
        repeated = sum(number - 1 for number in seen.values())
        if repeated:
            raise ValueError(
                f"PretextMetric got {repeated} of {len(seen)} images more than once, which would "
                f"count them more than others: set round_up=False in the sampler of the "
                f"evaluation's dataloader."
            )
        total = sum(result["batch_size"] for result in results)
        names = [name for name in results[0] if name not in KEPT]
        means = {
            name: sum(result[name] * result["batch_size"] for result in results) / total
            for name in names
        }
        for name in names:
            if name.endswith("_mean_colour_error"):
                task = name.removesuffix("_mean_colour_error")
                means[f"{task}_relative_error"] = means[f"{task}_error"] / max(means[name], 1e-12)
        return means
