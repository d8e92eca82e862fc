"""Nearest neighbours and logistic regression on features."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.datasets import load_digits

from mmvitssl.evaluation.knn import knn_accuracy, linear_accuracy


def plain_knn(train, labels, test, k, temperature):  # type: ignore[no-untyped-def]
    """One test image at a time, in float64."""
    guesses = []
    for feature in test.double():
        scores = [float(feature @ x / feature.norm() / x.norm()) for x in train.double()]
        order = sorted(range(len(scores)), key=lambda i: -scores[i])[:k]
        votes: dict[int, float] = {}
        for i in order:
            owner = int(labels[i])
            votes[owner] = votes.get(owner, 0.0) + math.exp(scores[i] / temperature)
        guesses.append(max(votes, key=lambda c: votes[c]))
    return torch.tensor(guesses)


@pytest.mark.parametrize("k", [1, 5, 30])
def test_votes_are_the_published_ones(k: int) -> None:
    torch.manual_seed(0)
    train, test = torch.randn(60, 8), torch.randn(25, 8)
    labels, truth = torch.randint(4, (60,)), torch.randint(4, (25,))
    expected = (plain_knn(train, labels, test, k, 0.07) == truth).float().mean().item()
    assert knn_accuracy(train, labels, test, truth, (k,), chunk=7) == {k: pytest.approx(expected)}


def test_on_digits_both_are_good_and_shuffled_labels_are_not() -> None:
    digits = load_digits()
    features = torch.tensor(digits.data, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:1200], order[1200:]
    split = (features[train], labels[train], features[test], labels[test])
    assert knn_accuracy(*split, (10,))[10] > 0.95
    assert linear_accuracy(*split) > 0.93
    shuffled = labels[train][torch.randperm(1200)]
    assert knn_accuracy(split[0], shuffled, split[2], split[3], (10,))[10] < 0.25


def test_more_neighbours_than_images_are_all_images() -> None:
    train, labels = torch.eye(3), torch.arange(3)
    assert knn_accuracy(train, labels, train, labels, (1, 200)) == {1: 1.0, 200: 1.0}


def test_numbers_must_agree() -> None:
    with pytest.raises(ValueError, match="a label a feature: 3 and 2"):
        knn_accuracy(torch.eye(3), torch.arange(2), torch.eye(3), torch.arange(3))


def test_features_that_are_not_finite_have_no_accuracy() -> None:
    features, labels = torch.randn(20, 4), torch.arange(20) % 2
    for value in (math.nan, math.inf):
        wrong = features.clone()
        wrong[3, 1] = value
        for bank, queries in ((wrong, features), (features, wrong)):
            found = knn_accuracy(bank, labels, queries, labels, neighbours=(1, 5))
            assert list(found) == [1, 5] and all(math.isnan(v) for v in found.values())
            assert math.isnan(linear_accuracy(bank, labels, queries, labels))
