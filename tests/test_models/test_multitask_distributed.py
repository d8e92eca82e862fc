"""A multi-task model over two gloo processes against one process with the whole batch.

Left alone, each process draws patches, permutations and turns of its own. Here both get their part
of one draw, so that losses, weights of losses and gradients can be compared.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from torch import Tensor
from torch.multiprocessing import spawn

from mmvitssl.engine.hooks import MomentumUpdateHook, ReduceLogsHook
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.corruption import Assigned, Need, allocate, harmonise
from mmvitssl.models.tasks.jigsaw import Jigsaw
from mmvitssl.models.tasks.rotation import Rotation
from mmvitssl.registry import MODELS
from tests.test_models.test_distributed import WORLD, free_port
from tests.test_models.test_distributed_methods import BATCH, VIT, make_batch, mlp, wrap

STEPS, TOTAL = 2, WORLD * BATCH
TASKS: dict[str, dict[str, Any]] = dict(
    contrast=dict(
        type="Contrastive", token="contrast", projector=mlp(32, 3), predictor=mlp(16),
        head=dict(type="InfoNCE", temperature=0.2, scale=0.4)),
    rotation=dict(type="Rotation", in_channels=32, views=(0, 1)),
    mean=dict(type="Colorization", in_channels=32, patches=2, hidden=16),
    bins=dict(type="Colorization", in_channels=32, patches=2, hidden=16, predicts="bins"),
    place=dict(type="RelativePosition", in_channels=32, pairs=1, crop=1.0, jitter=0.0,
               hide_position=True),
    jigsaw=dict(type="Jigsaw", in_channels=32, patches=3, cells=16, hidden=16),
    paint=dict(type="Inpainting", in_channels=32, patches=4, patch_size=8, modes=("mask", "grey")),
)  # fmt: skip
BALANCERS: dict[str, dict[str, Any]] = {
    "equal": dict(type="FixedWeights"),
    "pareto": dict(type="ParetoWeights", smoothing=0.5),
}


def build(balancer: str, seed: int = 0) -> Pretrainer:
    torch.manual_seed(seed)
    encoder = dict(VIT, prefix_tokens=("contrast", "rotation"), unknown_position=True)
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        return MODELS.build(dict(
            type="Pretrainer", encoder=encoder, tasks=TASKS, balancer=BALANCERS[balancer],
            target=dict(momentum=0.9, end=1.0, schedule="constant", when="before_forward"),
        ))  # fmt: skip


def rows(assigned: Assigned, part: slice) -> Assigned:
    names = ("singles", "pairs", "classes", "surroundings")
    return replace(assigned, **{name: getattr(assigned, name)[part] for name in names})


@contextmanager
def drawn_for_all(step: int, part: slice) -> Iterator[None]:
    """Every draw is made for the whole batch, and a process takes its part."""

    def generator(view: int) -> torch.Generator:
        return torch.Generator().manual_seed(100 * step + view)

    def give(
        needs: dict[str, Need], grid: tuple[int, int], batch: int, _: torch.Generator
    ) -> dict[str, Assigned]:
        drawn = allocate(needs, grid, TOTAL, generator(0))
        return {name: rows(assigned, part) for name, assigned in drawn.items()}

    def labels(task: Rotation, _: Any, view: int) -> Tensor:
        return torch.randint(4, (TOTAL,), generator=generator(10 + view))[part]

    def order(task: Jigsaw, _: Any, view: int) -> Tensor:
        return torch.rand(TOTAL, 3, generator=generator(20 + view)).argsort(dim=1)[part]

    with (
        mock.patch(f"{harmonise.__module__}.allocate", give),
        mock.patch.object(Rotation, "labels", labels),
        mock.patch.object(Jigsaw, "order", order),
    ):
        yield


def batch_of(step: int, part: slice) -> dict[str, Any]:
    """Two views; the last three of the first process's images have no colour."""
    batch = make_batch(step, slice(0, TOTAL))
    views = batch["views"][:2]
    for view in views:
        view[1:BATCH] = view[1:BATCH, :1]
    samples = {key: value[part] for key, value in batch["samples"].items()}
    return {"views": [view[part] for view in views], "samples": samples}


def train(balancer: str, part: slice, together: bool, seed: int = 0) -> dict[str, Any]:
    """Logs and the state after two SGD steps."""
    model = build(balancer, seed)
    network = wrap(model, "copies") if together else model
    sgd = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    wrapper, logs = OptimWrapper(sgd), []
    runner: Any = SimpleNamespace(model=network, optim_wrapper=wrapper, max_iters=STEPS, iter=0)
    momentum, reduce = MomentumUpdateHook(), ReduceLogsHook()
    momentum.before_train(runner)
    for step in range(STEPS):
        momentum.before_train_iter(runner, step)
        with drawn_for_all(step, part):
            outputs = network.train_step(batch_of(step, part), wrapper)
        reduce.after_train_iter(runner, step, outputs=outputs)
        momentum.after_train_iter(runner, step)
        logs.append({key: torch.as_tensor(value) for key, value in outputs.items()})
        runner.iter += 1
    return {"logs": logs, "state": model.state_dict()}


def worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=WORLD
    )
    part = slice(rank * BATCH, (rank + 1) * BATCH)
    results = {name: train(name, part, together=True, seed=rank) for name in BALANCERS}
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
    gc.collect()  # wrapped models keep gloo's threads, which may abort the exit of a process


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("double")
    spawn(worker, (free_port(), str(folder)), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


@pytest.mark.slow
@pytest.mark.parametrize("balancer", BALANCERS)
def test_two_processes_give_the_losses_and_weights_of_one(
    balancer: str, double: list[dict[str, Any]]
) -> None:
    """All that is logged, weights of losses, class frequencies, target: after two steps."""
    expected = train(balancer, slice(0, TOTAL), together=False)
    start = build(balancer).state_dict()
    assert {f"raw_{name}" for name in TASKS} <= set(expected["logs"][0])
    for result in double:
        for mine, theirs in zip(result[balancer]["logs"], expected["logs"], strict=True):
            assert mine.keys() == theirs.keys()
            for key, value in theirs.items():
                torch.testing.assert_close(
                    mine[key].float(), value.float(), rtol=1e-4, atol=1e-5,
                    msg=lambda text, key=key: f"{key}: {text}",
                )  # fmt: skip
        for key, value in expected["state"].items():
            if not value.numel():  # class frequencies where no classes are predicted
                continue
            change = float((value - start[key]).abs().max())
            difference = float((result[balancer]["state"][key] - value).abs().max())
            assert difference <= 5e-6 + 1e-3 * change, (key, difference, change)
    assert not torch.equal(start["tasks.bins.prior"], expected["state"]["tasks.bins.prior"])
    if balancer == "pareto":
        assert len({float(expected["logs"][1][f"weight_{name}"]) for name in TASKS}) == len(TASKS)
