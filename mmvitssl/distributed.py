"""Collective operations that work with and without a process group, on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn import functional as dist_nn

_alone = False
_acting: int | None = None


@contextmanager
def each_alone() -> Iterator[None]:
    """Let every process compute as if it were the only one, without collectives.

    Evaluation needs it: processes have different numbers of batches, of different sizes, and a
    process without any would never take part.
    """
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def world_size() -> int:
    """Number of processes; 1 without a process group, and inside :func:`each_alone`."""
    if _alone:
        return 1
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@contextmanager
def as_rank(number: int) -> Iterator[None]:
    """Draw what the process of this rank drew, to repeat its step."""
    global _acting
    before, _acting = _acting, number
    try:
        yield
    finally:
        _acting = before


def rank() -> int:
    """Rank of this process; 0 without a process group."""
    if _acting is not None:
        return _acting
    return dist.get_rank() if world_size() > 1 else 0


def alone() -> bool:
    """Whether there is one process only, so that collective operations have nothing to do."""
    return world_size() == 1


def gather_without_grad(features: Tensor) -> Tensor:
    """(B, ...) of every process, in order of rank: (world * B, ...), detached."""
    features = features.detach()
    if alone():
        return features
    parts = [torch.empty_like(features) for _ in range(world_size())]
    dist.all_gather(parts, features.contiguous())
    return torch.cat(parts)


def gather_with_grad(features: Tensor) -> Tensor:
    """(B, ...) of every process, in order of rank, through which gradients flow back to all."""
    if alone():
        return features
    return torch.cat(dist_nn.all_gather(features.contiguous()))


def all_reduce_with_grad(values: Tensor) -> Tensor:
    """Sum over processes, through which gradients flow."""
    return values if alone() else dist_nn.all_reduce(values)


def mean_over_processes(values: Tensor) -> Tensor:
    """Mean over processes, detached."""
    values = values.detach()
    if not alone():
        values = values.clone()
        dist.all_reduce(values)
        values /= world_size()
    return values


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum over processes, detached."""
    values = values.detach()
    if not alone():
        values = values.clone()
        dist.all_reduce(values)
    return values


def largest_over_processes(values: Tensor) -> Tensor:
    """Elementwise maximum over processes, detached, on the device of ``values``."""
    values = values.detach()
    if alone():
        return values
    device = torch.device("cuda") if dist.get_backend() == "nccl" else values.device
    largest = values.to(device, copy=True)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return largest.to(values.device)
