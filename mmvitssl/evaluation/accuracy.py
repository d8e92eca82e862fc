"""Top-k accuracy."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmvitssl.registry import METRICS


@METRICS.register_module()
class ClassAccuracy(BaseMetric):
    """Share of images whose class is among the k best, in percent: ``accuracy/top<k>``.

    A k that is not below the number of classes would always be 100 and is left out. Of
    classifiers after every block, ``accuracy/top<k>`` is the best one's, which the images that it
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
        above = ((scores > own) | ((scores == own) & before)).sum(dim=-1).double()
        # no comparison with NaN is true, which would make the own class the best
        unknown = ~(scores < math.inf).all(dim=-1)
        above = above.masked_fill(unknown, math.nan)
        self.results.extend((place, classes) for place in above.tolist())

    def compute_metrics(self, results: list[tuple[float | list[float], int]]) -> dict[str, float]:
        """Percentages by name; NaN where scores of some image are NaN or infinite."""
        places = torch.tensor([place for place, _ in results], dtype=torch.double)
        unknown = places.isnan().any(dim=0)
        images = int(places.isnan().view(len(places), -1).any(dim=1).sum())
        if images:
            print_log(
                f"The scores of {images} of {len(results)} images are NaN or infinite: there is "
                f"no accuracy. The weights are broken, or their precision is too low.",
                logger="current",
                level=logging.WARNING,
            )
        metrics: dict[str, float] = {}
        for k in (k for k in self.topk if k < results[0][1]):
            hits = 100 * (places < k).double().mean(dim=0)
            shares = hits.masked_fill(unknown, math.nan).tolist()
            if isinstance(shares, list):
                metrics |= {f"top{k}_block{i}": share for i, share in enumerate(shares)}
            best = shares if isinstance(shares, list) else [shares]
            known = [share for share in best if not math.isnan(share)]
            metrics[f"top{k}"] = max(known, default=math.nan)
        return metrics
