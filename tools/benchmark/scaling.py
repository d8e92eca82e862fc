"""How a training step would run on many devices: what it sends, and what that costs.

The model: devices compute the same step; gradients are reduced in a ring while the backward pass
runs, other collectives (gathers of embeddings, batch norm, centres, logs) are waited for. Numbers
of a device and a network are assumptions that the caller names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

BACKWARD_SHARE = 2 / 3  # of the compute of a step


@dataclass(frozen=True)
class Network:
    """What is assumed of devices and of what lies between them.

    Attributes:
        flops: operations a second that a step reaches on one device.
        inside: bytes a second and device of a ring inside a node.
        between: bytes a second and device of a ring over nodes.
        latency: seconds of one small collective inside a node; over nodes it is doubled.
        node: devices of a node.
        bucket: bytes of the last bucket of gradients, whose reduction nothing hides.
    """

    flops: float
    inside: float = 350e9
    between: float = 40e9
    latency: float = 20e-6
    node: int = 8
    bucket: int = 25 * 2**20

    def bandwidth(self, devices: int) -> float:
        """Bytes a second and device of a ring over so many devices."""
        return self.inside if devices <= self.node else self.between

    def wait(self, devices: int) -> float:
        """Seconds of a small collective."""
        return self.latency if devices <= self.node else 2 * self.latency


@dataclass(frozen=True)
class Traffic:
    """What a device sends and receives in a step.

    Attributes:
        gradients: bytes of the trained parameters' gradients.
        gathered: bytes of embeddings that gathers hand to each device, in proportion to the batch.
        reduced: bytes of means and sums (batch norm, centres), whatever the batch.
        collectives: the number of both.
    """

    gradients: int
    gathered: int
    reduced: int
    collectives: int

    def for_batch(self, factor: float) -> Traffic:
        """The same for a batch that is so many times as large."""
        return replace(self, gathered=round(self.gathered * factor))


class CollectiveCounter(TorchDispatchMode):
    """Count collectives, and the bytes that each leaves on this device."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.gathered = self.reduced = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.namespace in ("c10d", "_c10d_functional"):
            self.calls += 1
            tensors = [leaf for leaf in tree_leaves(args[0]) if isinstance(leaf, Tensor)]
            bytes_ = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            if "allreduce" in func._opname or "all_reduce" in func._opname:
                self.reduced += bytes_
            else:
                self.gathered += bytes_
        return func(*args, **(kwargs or {}))


@contextmanager
def pretended_world(devices: int) -> Iterator[None]:
    """A process group of so many processes that exchanges nothing.

    Raises:
        RuntimeError: there is a real one.
    """
    if dist.is_initialized():
        raise RuntimeError("Traffic is counted in a process without a process group.")
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=devices)
    try:
        yield
    finally:
        dist.destroy_process_group()


def count_traffic(model: torch.nn.Module, step: Callable[[], None], devices: int) -> Traffic:
    """Make one step of a model as one of ``devices`` processes.

    Args:
        model: whose trained parameters count.
        step: forward and backward without a distributed wrapper, whose reduction of gradients is
            known without making it.
        devices: processes of the pretended group.
    """
    with pretended_world(devices), CollectiveCounter() as counter:
        step()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    bytes_ = sum(parameter.numel() * parameter.element_size() for parameter in trained)
    return Traffic(bytes_, counter.gathered, counter.reduced, counter.calls)


def reduce_seconds(bytes_: float, devices: int, network: Network) -> float:
    """A ring all-reduce: every byte is sent twice but for the device's own share."""
    return 2 * (devices - 1) / devices * bytes_ / network.bandwidth(devices)


@dataclass(frozen=True)
class Prediction:
    """A step on many devices.

    Attributes:
        devices: their number.
        step: seconds of compute.
        gradients: seconds of gradients' reduction that the backward pass does not hide.
        others: seconds of the other collectives.
    """

    devices: int
    step: float
    gradients: float
    others: float

    @property
    def efficiency(self) -> float:
        """Share of the time that is compute: of so many times the rate of one device."""
        return self.step / (self.step + self.gradients + self.others)


def predict(
    flops: float, traffic: Traffic, devices: int, network: Network, sharded: bool = False
) -> Prediction:
    """The step with DDP, or with fully sharded parameters (FSDP).

    FSDP gathers the parameters for the forward and again for the backward pass and scatters the
    gradients: three half all-reduces instead of two; all compute hides it but for a bucket's.

    Args:
        flops: of the step on one device.
        traffic: counted in a pretended group of as many devices.
        devices: their number.
        network: the assumptions.
        sharded: FSDP instead of DDP.
    """
    compute = flops / network.flops
    whole = reduce_seconds(traffic.gradients, devices, network) * (1.5 if sharded else 1.0)
    hidden = compute * (1.0 if sharded else BACKWARD_SHARE)
    last = reduce_seconds(min(network.bucket, traffic.gradients), devices, network)
    exposed = max(whole - hidden, last)
    others = (
        traffic.collectives * network.wait(devices)
        + (devices - 1) / devices * traffic.gathered / network.bandwidth(devices)
        + reduce_seconds(traffic.reduced, devices, network)
    )
    return Prediction(devices, compute, exposed, others)
