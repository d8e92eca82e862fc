"""What the spectrum of features says of them, without labels."""

from __future__ import annotations

import torch
from torch import Tensor


def rankme(features: Tensor) -> float:
    """Smooth rank of features: exp of the entropy of their normalised singular values.

    Features are not centred (Garrido et al., 2023, equation 1). Higher is better among runs of one
    method; features that collapsed to one point have 1.

    Args:
        features: (N, C) of N different images.

    Returns:
        between 1 and min(N, C); 0 where all features are zero.
    """
    values = torch.linalg.svdvals(features.double())
    total = values.sum()
    if total == 0:
        return 0.0
    share = values / total + 1e-7
    return float(torch.exp(-(share * share.log()).sum()))


def alpha_req(features: Tensor, least: int = 3) -> float | None:
    """Exponent of the power law that eigenvalues of the covariance follow.

    The slope of a line through log eigenvalue against log index (Agrawal et al., 2022, section 3).
    Good features have about 1: above, few directions carry all; below, all carry noise.

    Args:
        features: (N, C) of N different images.
        least: eigenvalues that a line needs.

    Returns:
        the exponent; None where fewer than ``least`` eigenvalues differ from zero.
    """
    centred = features.double() - features.double().mean(dim=0)
    values = torch.linalg.svdvals(centred).square()
    values = values[values > 1e-10 * features.double().square().sum()]
    if len(values) < least:
        return None
    x = torch.arange(1, len(values) + 1, dtype=torch.float64).log()
    y = values.log()
    x = x - x.mean()
    return float(-(x * (y - y.mean())).sum() / x.square().sum())


def nearest(features: Tensor, number: int) -> Tensor:
    """Indices of the nearest other images by cosine similarity, nearest first.

    Args:
        features: (N, C).
        number: of neighbours; at most N - 1 are returned.

    Returns:
        (N, number) long.
    """
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    similarity = unit @ unit.T
    similarity.fill_diagonal_(-float("inf"))
    return similarity.topk(min(number, len(features) - 1), dim=1).indices


def neighbour_accuracy(features: Tensor, labels: Tensor, number: int = 5) -> float:
    """Share of images whose nearest others vote for their class, in [0, 1].

    Each neighbour's vote counts its similarity's rank alike; ties go to the smaller class.

    Args:
        features: (N, C).
        labels: (N,) class of each.
        number: of neighbours that vote.
    """
    votes = labels[nearest(features, number)]
    chosen = torch.mode(votes, dim=1).values
    return float((chosen == labels).float().mean())
