"""Gradients of several losses where they meet: at what the online encoder gave."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gradient_products(losses: dict[str, Tensor], shared: Sequence[Tensor]) -> Tensor:
    """(T, T) inner products of the losses' gradients by the shared representations, in float32.

    Representations in place of parameters: an upper bound of the shared gradient (Sener and
    Koltun, 2018, section 3.3) at the price of one backward pass through the heads alone.
    """
    gradients = []
    for loss in losses.values():
        parts = torch.autograd.grad(loss, list(shared), retain_graph=True, allow_unused=True)
        gradients.append([
            torch.zeros_like(tensor).flatten() if part is None else part.flatten()
            for part, tensor in zip(parts, shared, strict=True)
        ])  # fmt: skip
    products = shared[0].new_zeros(len(losses), len(losses), dtype=torch.float32)
    for pieces in zip(*gradients, strict=True):
        stacked = torch.stack(pieces).float()
        products = products + stacked @ stacked.T
    return products


def gradient_cosines(losses: dict[str, Tensor], shared: Sequence[Tensor]) -> dict[str, Tensor]:
    """``cosine_<a>_<b>`` of each two tasks' gradients: below 0 they pull against each other."""
    names = list(losses)
    if len(names) < 2 or not shared:
        return {}
    products = gradient_products(losses, shared)
    norms = products.diagonal().clamp(min=1e-30).sqrt()
    cosines = products / norms[:, None] / norms
    return {
        f"cosine_{names[i]}_{names[j]}": cosines[i, j]
        for i in range(len(names))
        for j in range(i + 1, len(names))
    }
