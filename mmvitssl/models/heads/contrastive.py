"""Losses between two views: ``(queries, keys, view) -> (loss, metric)``.

``view`` is the number of the view that the keys come from: queues keep views apart. What a head
keeps of the keys it takes in ``update(keys)``, after all losses of a training iteration.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.distributed import gather_with_grad, gather_without_grad, rank
from mmvitssl.models.necks.mlp import unit
from mmvitssl.registry import MODELS


def check_temperature(owner: object, temperature: float) -> float:
    """Raise ValueError unless the temperature is positive."""
    if temperature <= 0:
        raise ValueError(f"{type(owner).__name__}.temperature must be positive, not {temperature}.")
    return temperature


def _positives(queries: Tensor) -> Tensor:
    """(B,) where the queries' own keys stand among those of all processes."""
    own = torch.arange(queries.shape[0], device=queries.device)
    return own + queries.shape[0] * rank()


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.detach().argmax(dim=1) == labels).float().mean()


@MODELS.register_module()
class InfoNCE(nn.Module):
    """Instance discrimination among the keys of the whole batch (MoCo v3, algorithm 1).

    Cross entropy of q . k / T over the L2-normalised keys of all processes, gathered without
    gradient; the positive of query i is key i.

    Args:
        temperature: T; 0.2 for Vision Transformers.
        scale: factor on the loss; MoCo v3 uses 2T.

    Raises:
        ValueError: a temperature that is not positive.
    """

    metric = "accuracy"

    def __init__(self, temperature: float = 0.2, scale: float = 1.0) -> None:
        super().__init__()
        self.temperature = check_temperature(self, temperature)
        self.scale = scale

    def forward(self, queries: Tensor, keys: Tensor, view: int = 0) -> tuple[Tensor, Tensor]:
        """Compare.

        Args:
            queries: (B, C); gradients flow into them.
            keys: (B, C); treated as constants.
            view: not used.

        Returns:
            the scaled loss, a scalar, and the accuracy in [0, 1] of picking the positive.
        """
        similarity = unit(queries) @ gather_without_grad(unit(keys)).T / self.temperature
        positives = _positives(queries)
        loss = self.scale * F.cross_entropy(similarity, positives)
        return loss, _accuracy(similarity, positives)

    def update(self, keys: dict[int, Tensor]) -> None:
        """Nothing to keep."""


@MODELS.register_module()
class NTXent(nn.Module):
    """SimCLR's loss of one view: all other embeddings of both views are negatives.

    Gradients flow through keys and negatives. The official loss is the sum of both views' means,
    which is what :class:`Contrastive` sums up to.

    Args:
        temperature: T; 0.1 in the official code.
        scale: factor on the loss; 0.5 is the mean over all 2N embeddings (the paper, SiT).
        local: whether the negatives are those of one process (SiT), or of all.

    Raises:
        ValueError: a temperature that is not positive.
    """

    metric = "accuracy"

    def __init__(self, temperature: float = 0.1, scale: float = 1.0, local: bool = False) -> None:
        super().__init__()
        self.temperature = check_temperature(self, temperature)
        self.scale, self.local = scale, local

    def forward(self, queries: Tensor, keys: Tensor, view: int = 0) -> tuple[Tensor, Tensor]:
        """(B, C) embeddings of two views -> loss of the first, accuracy."""
        mine, theirs = unit(queries), unit(keys)
        if self.local:
            same, other = mine, theirs
            positives = torch.arange(len(mine), device=mine.device)
        else:
            same, other = gather_with_grad(mine), gather_with_grad(theirs)
            positives = _positives(queries)
        among = (mine @ same.T).scatter(1, positives[:, None], float("-inf"))
        logits = torch.cat([mine @ other.T, among], dim=1) / self.temperature
        return self.scale * F.cross_entropy(logits, positives), _accuracy(logits, positives)

    def update(self, keys: dict[int, Tensor]) -> None:
        """Nothing to keep."""


@MODELS.register_module()
class QueueInfoNCE(nn.Module):
    """Instance discrimination against a queue of earlier keys (MoCo v2, MoBY).

    Each view whose keys are compared with has a queue of its own, so that a query never meets an
    old key of its own view (MoBY, section 3). Queues are the same on all processes.

    Args:
        channels: C of the embeddings.
        size: keys in a queue.
        temperature: T; 0.2 in both papers.
        queues: 1 (MoCo v2) or one for each of two views (MoBY).
        first_view: the view whose keys fill the first queue; MoCo v2's keys are view 1.

    Raises:
        ValueError: a temperature that is not positive, or no queue.
    """

    metric = "accuracy"
    pointer: Tensor

    def __init__(
        self,
        channels: int = 256,
        size: int = 4096,
        temperature: float = 0.2,
        queues: int = 2,
        first_view: int = 0,
    ) -> None:
        super().__init__()
        self.temperature = check_temperature(self, temperature)
        if queues < 1 or size < 1:
            raise ValueError(f"QueueInfoNCE needs queues and a size: {queues}, {size}.")
        self.channels, self.size = channels, size
        self.queues, self.first_view = queues, first_view
        for number in range(queues):
            keys = F.normalize(torch.randn(channels, size), dim=0)
            self.register_buffer(f"queue_{number}", keys)
        self.register_buffer("pointer", torch.zeros(1, dtype=torch.long))

    def _queue(self, view: int) -> Tensor:
        number = view - self.first_view
        if not 0 <= number < self.queues:
            raise ValueError(
                f"QueueInfoNCE has queues for the views {self.first_view}.."
                f"{self.first_view + self.queues - 1}, and keys came from view {view}: set queues "
                f"and first_view."
            )
        return getattr(self, f"queue_{number}")

    def forward(self, queries: Tensor, keys: Tensor, view: int = 0) -> tuple[Tensor, Tensor]:
        """(B, C) queries and keys of ``view`` -> loss, accuracy."""
        q, k = unit(queries), unit(keys).detach()
        positive = (q * k).sum(dim=1, keepdim=True)
        logits = torch.cat([positive, q @ self._queue(view).clone()], dim=1) / self.temperature
        labels = torch.zeros(len(q), dtype=torch.long, device=q.device)
        return F.cross_entropy(logits, labels), _accuracy(logits, labels)

    @torch.no_grad()
    def update(self, keys: dict[int, Tensor]) -> None:
        """Replace the oldest keys by those of this iteration, of all processes."""
        added = 0
        for view, values in keys.items():
            if not 0 <= view - self.first_view < self.queues:
                continue
            new = gather_without_grad(unit(values))[-self.size :]
            added = len(new)
            places = (self.pointer + torch.arange(added, device=new.device)) % self.size
            self._queue(view).index_copy_(1, places, new.T)
        self.pointer.copy_((self.pointer + added) % self.size)


@MODELS.register_module()
class CosineLoss(nn.Module):
    """Distance of directions, ``offset - scale * cos(query, key)``, without negatives.

    BYOL is 2 - 2 cos, the squared distance of normalised vectors; SimSiam is - cos / 2, to which
    a constant may be added so that learned weights have something to divide (a loss below 0 would
    let :class:`UncertaintyWeights` run away).

    Args:
        scale: factor of the cosine.
        offset: constant.
    """

    metric = "cosine"

    def __init__(self, scale: float = 2.0, offset: float = 2.0) -> None:
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, queries: Tensor, keys: Tensor, view: int = 0) -> tuple[Tensor, Tensor]:
        """(B, C) both -> loss, mean cosine."""
        cosine = (unit(queries) * unit(keys)).sum(dim=1).mean()
        return self.offset - self.scale * cosine, cosine.detach()

    def update(self, keys: dict[int, Tensor]) -> None:
        """Nothing to keep."""
