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

    A k that is not below the number of classes would always be 100 and is left out. Of
    classifiers behind every block, ``accuracy/top<k>`` is the best one's, which the images that it
    is measured on have chosen, and ``accuracy/top<k>_block<i>`` is that of block i, from 0.

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
        classes = scores.shape[-1]
        labels = labels.view(-1, *[1] * (scores.ndim - 1))
        own = scores.gather(-1, labels.expand(*scores.shape[:-1], 1))
        # of equal scores the lower class comes first
        before = torch.arange(classes) < labels
        above = ((scores > own) | ((scores == own) & before)).sum(dim=-1)
        self.results.extend((place, classes) for place in above.tolist())

    def compute_metrics(self, results: list[tuple[int | list[int], int]]) -> dict[str, float]:
        """Percentages by name."""
        places = torch.tensor([place for place, _ in results])
        metrics: dict[str, float] = {}
        for k in (k for k in self.topk if k < results[0][1]):
            shares = (100 * (places < k).double().mean(dim=0)).tolist()
            if isinstance(shares, list):
                metrics |= {f"top{k}_block{i}": share for i, share in enumerate(shares)}
            metrics[f"top{k}"] = max(shares) if isinstance(shares, list) else shares
        return metrics
