"""Top-k accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from mmvitssl.registry import METRICS


@METRICS.register_module()
class ClassAccuracy(BaseMetric):
    """Share of images whose class is among the k best, in percent: ``accuracy/top<k>``.

    A k that is not below the number of classes would always be 100 and is left out.

    Args:
        topk: values of k.
        kwargs: see :class:`mmengine.evaluator.BaseMetric`.
    """

    default_prefix = "accuracy"

    def __init__(self, topk: Sequence[int] = (1, 5), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not topk or min(topk) < 1:
            raise ValueError(f"ClassAccuracy.topk={topk} must name values from 1 on.")
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep of each image how many classes score higher than its own, and the classes."""
        scores = torch.stack([sample["scores"] for sample in data_samples])
        labels = torch.stack([torch.as_tensor(sample["label"]) for sample in data_samples])
        own = scores.gather(1, labels[:, None])
        # of equal scores the lower class comes first
        before = torch.arange(scores.shape[1]) < labels[:, None]
        above = ((scores > own) | ((scores == own) & before)).sum(dim=1)
        self.results.extend((int(place), scores.shape[1]) for place in above)

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        """Percentages by name."""
        places = torch.tensor([place for place, _ in results])
        classes = results[0][1]
        return {
            f"top{k}": 100 * float((places < k).double().mean()) for k in self.topk if k < classes
        }
