"""Nearest neighbours in feature space, without training anything."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor


def broken(train: Tensor, test: Tensor) -> bool:
    """Whether features hold NaN or infinity; a warning says of how many images."""
    counts = [int((~features.isfinite()).any(dim=1).sum()) for features in (train, test)]
    if any(counts):
        print_log(
            f"The features of {counts[0]} of {len(train)} training and of {counts[1]} of "
            f"{len(test)} test images are NaN or infinite: there is no accuracy. The weights are "
            f"broken, or their precision is too low.",
            logger="current",
            level=logging.WARNING,
        )
    return any(counts)


@torch.no_grad()
def knn_accuracy(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    neighbours: Iterable[int] = (10, 20, 100, 200),
    temperature: float = 0.07,
    chunk: int = 1024,
) -> dict[int, float]:
    """Accuracy of weighted k-nearest neighbours (Wu et al., 2018; DINO, appendix).

    Cosine similarity s of a neighbour votes exp(s / T) for its class.

    Args:
        train: (N, C) features.
        train_labels: (N,) long.
        test: (M, C) features.
        test_labels: (M,) long.
        neighbours: values of k; those above N are N.
        temperature: T.
        chunk: test images at a time.

    Returns:
        top-1 accuracy in [0, 1] by k; NaN, with a warning, where features are not finite.

    Raises:
        ValueError: no training images, or numbers of features and labels that differ.
    """
    if not len(train) or len(train) != len(train_labels) or len(test) != len(test_labels):
        raise ValueError(
            f"knn_accuracy needs a label a feature: {len(train)} and {len(train_labels)} to train, "
            f"{len(test)} and {len(test_labels)} to test."
        )
    values = sorted(set(neighbours))
    if broken(train, test):
        return dict.fromkeys(values, math.nan)
    bank = F.normalize(train.float(), dim=1)
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    right = dict.fromkeys(values, 0)
    for features, labels in zip(test.split(chunk), test_labels.split(chunk), strict=True):
        similarity = F.normalize(features.float(), dim=1) @ bank.T
        nearest, index = similarity.topk(min(values[-1], len(bank)), dim=1)
        votes = (nearest / temperature).exp()
        owners = train_labels[index]
        for k in values:
            tally = votes.new_zeros(len(features), classes)
            tally.scatter_add_(1, owners[:, :k], votes[:, :k])
            right[k] += int((tally.argmax(dim=1) == labels).sum())
    return {k: right[k] / len(test) for k in values}


def linear_accuracy(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    strengths: Sequence[float] = (0.01, 0.1, 1.0),
    seed: int = 0,
) -> float:
    """Accuracy of logistic regression on standardised features, the strength chosen on a tenth.

    Args:
        train, train_labels, test, test_labels: see :func:`knn_accuracy`.
        strengths: inverse weights of the L2 penalty to choose from.
        seed: of the split that chooses.

    Returns:
        top-1 accuracy in [0, 1]; NaN, with a warning, where features are not finite.
    """
    if broken(train, test):
        return math.nan
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = train.float().cpu().numpy(), train_labels.cpu().numpy()
    number = max(len(labels) // 10, len(set(labels.tolist())))  # one of each class at least
    kept, held, kept_labels, held_labels = train_test_split(
        features, labels, test_size=number, random_state=seed, stratify=labels
    )

    def fitted(strength: float, x: object, y: object) -> object:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
        return model.fit(x, y)

    scores = {c: fitted(c, kept, kept_labels).score(held, held_labels) for c in strengths}  # type: ignore[attr-defined]
    best = max(scores, key=lambda c: scores[c])
    final = fitted(best, features, labels)
    return float(final.score(test.float().cpu().numpy(), test_labels.cpu().numpy()))  # type: ignore[attr-defined]
