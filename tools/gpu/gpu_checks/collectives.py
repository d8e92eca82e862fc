"""Gathers and synchronised batch norm through a process group of one process.

With one process they return early. Here they do not, so that nccl itself is called, and must
return what one process alone computes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gpu_checks.report import close
from gpu_checks.steps import float32_step
from mmvitssl import distributed
from mmvitssl.models.necks import mlp

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """A process group of this process alone; its backend."""
    backend = BACKENDS[device]
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        dist.init_process_group(backend, init_method=meeting, rank=0, world_size=1)
        try:
            yield backend
        finally:
            dist.destroy_process_group()


@contextmanager
def no_shortcuts() -> Iterator[mock.Mock]:
    """Collective operations communicate even though there is one process only."""
    with ExitStack() as stack:
        for module in (distributed, mlp):
            stack.enter_context(mock.patch.object(module, "alone", lambda: False))
        yield stack.enter_context(mock.patch.object(dist, "all_gather", wraps=dist.all_gather))


def _weighted(output: Tensor, values: Tensor) -> dict[str, Tensor]:
    """The output, and the gradient of the values under a fixed weighting of it."""
    weights = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
    (gradient,) = torch.autograd.grad((output * weights).sum(), values)
    return {"output": output.detach(), "gradient": gradient}


def _equal(what: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        off = (found[name].float() - value.float()).norm() / value.float().norm().clamp(min=1e-12)
        close(f"{name} of {what}", float(off), 1e-5)


def _batch_norms(values: Tensor) -> None:
    norms = {"SyncBatchNorm1d": mlp.SyncBatchNorm1d, "BatchNorm1d": nn.BatchNorm1d}
    results: dict[str, dict[str, Tensor]] = {}
    for name, kind in norms.items():
        norm = kind(values.shape[1]).to(values.device)
        results[name] = _weighted(norm(values), values)
        results[name].update(norm.named_buffers())
    _equal("SyncBatchNorm1d", results["SyncBatchNorm1d"], results["BatchNorm1d"])


def _torchs_batch_norm(values: Tensor) -> None:
    """The one that segmentors are built with, which is for GPUs only."""
    plain, synchronised = (
        norm.to(values.device) for norm in (nn.BatchNorm2d(16), nn.SyncBatchNorm(16))
    )
    maps = values.view(8, 16, 2, 2)
    _equal("SyncBatchNorm", _weighted(synchronised(maps), values), _weighted(plain(maps), values))


def collectives(device: str) -> str:
    """Gathers, means and batch norm through the group equal those of one process alone."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(8, 64, generator=generator).to(device).requires_grad_(True)
    with process_group(device) as backend, no_shortcuts() as gathered:
        found = _weighted(distributed.gather_with_grad(values * 1), values)
        _equal("gather_with_grad", found, _weighted(values * 1, values))
        plain = {"output": values.detach()}
        _equal("a gather", {"output": distributed.gather_without_grad(values)}, plain)
        _equal("a mean", {"output": distributed.mean_over_processes(values)}, plain)
        _batch_norms(values)
        if device == "cuda":
            _torchs_batch_norm(values)
        if not gathered.called:
            raise AssertionError("nothing was communicated")
    return f"{backend}: gathers, means and batch norm equal those of one process alone"


def distributed_step(name: str, device: str) -> str:
    """A method's step in a process group equals the CPU's without one."""
    with process_group(device) as backend, no_shortcuts():
        return f"{backend}: {float32_step(name, device)}"
