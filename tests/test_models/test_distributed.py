"""Losses and batch norm over two gloo processes against one process with the whole batch."""

from __future__ import annotations

import socket
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing import spawn

from mmvitssl.distributed import gather_without_grad, mean_over_processes
from mmvitssl.models.heads import InfoNCE
from mmvitssl.models.necks import ProjectionMLP
from mmvitssl.models.necks.mlp import SyncBatchNorm1d
from tests.test_models.test_necks_heads import plain_info_nce

WORLD, BATCH, CHANNELS = 2, 5, 6


def make_inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = (WORLD * BATCH, CHANNELS)
    return torch.randn(size, generator=generator), torch.randn(size, generator=generator)


def make_mlp() -> ProjectionMLP:
    torch.manual_seed(1)
    return ProjectionMLP(CHANNELS, hidden_channels=8, out_channels=CHANNELS, num_layers=2)


def step(mlp: nn.Module, queries: Tensor, keys: Tensor) -> dict[str, Tensor]:
    """Loss, gradients (averaged as DDP does) and running statistics after one backward pass."""
    queries = queries.clone().requires_grad_(True)
    loss, accuracy = InfoNCE(0.2, scale=0.4)(mlp(queries), keys)
    loss.backward()
    out = {
        "loss": mean_over_processes(loss),
        "accuracy": mean_over_processes(accuracy),
        "keys": gather_without_grad(keys),
        "input": queries.grad.clone(),
    }
    for name, parameter in mlp.named_parameters():
        out[f"gradient {name}"] = mean_over_processes(parameter.grad)
    out.update({f"buffer {name}": buffer.float() for name, buffer in mlp.named_buffers()})
    return out


def worker(rank: int, port: int, folder: str) -> None:
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=WORLD
    )
    part = slice(rank * BATCH, (rank + 1) * BATCH)
    queries, keys = make_inputs()
    torch.save(step(make_mlp(), queries[part], keys[part]), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_processes_equal_one_with_the_whole_batch(tmp_path: Path) -> None:
    spawn(worker, (free_port(), str(tmp_path)), nprocs=WORLD)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]
    queries, keys = make_inputs()
    mlp = make_mlp()
    whole = step(mlp, queries, keys)
    for name, expected in whole.items():
        if name == "input":
            # each process averages over its own part, so its input gradients are twice as large
            together = torch.cat([part["input"] for part in parts]) / WORLD
            torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-6)
            continue
        for part in parts:
            torch.testing.assert_close(part[name], expected, rtol=1e-4, atol=1e-6, msg=name)
    assert torch.equal(whole["keys"], keys)
    projected = make_mlp()(queries).detach()
    plain = 0.4 * plain_info_nce(projected.double(), keys.double(), 0.2)
    torch.testing.assert_close(parts[0]["loss"].double().item(), plain, rtol=1e-5, atol=1e-6)


def test_one_process_is_plain_batch_norm() -> None:
    mine, torchs = SyncBatchNorm1d(4), nn.BatchNorm1d(4)
    features = torch.randn(6, 4)
    assert torch.equal(mine(features), torchs(features))
    assert torch.equal(mine.running_var, torchs.running_var)
    assert torch.equal(mine.eval()(features), torchs.eval()(features))
