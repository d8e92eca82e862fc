"""Small networks on tokens, for tasks whose head is part of the task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def token_mlp(inputs: int, outputs: int, hidden: int | None) -> nn.Sequential:
    """Linear, GELU, linear; one linear layer if ``hidden`` is None."""
    if hidden is None:
        return nn.Sequential(nn.Linear(inputs, outputs))
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


def classify(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(T, classes) and (T,) -> mean cross-entropy in float32, and accuracy."""
    loss = F.cross_entropy(logits.float(), labels)
    with torch.no_grad():
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
    return loss, accuracy


def chosen_tokens(patches: Tensor, index: Tensor) -> Tensor:
    """(B, N, C) and (B, n) indices -> (B, n, C)."""
    return patches.gather(1, index[..., None].expand(-1, -1, patches.shape[-1]))
