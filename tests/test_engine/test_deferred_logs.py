"""The log without waiting for the device at every value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

import mmvitssl.engine  # noqa: F401  (registers the hook)
from mmvitssl.engine.hooks import DeferredLogsHook
from tests.test_tools.programs import logged


class Line(BaseModel):
    """A model with two losses and a metric."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, inputs: Tensor, mode: str = "loss") -> dict[str, Tensor]:
        out = self.layer(inputs)
        return {"loss_a": out.square().mean(), "loss_b": out.abs().mean(), "share": out.mean()}


def run(folder: Path, name: str, **settings: Any) -> tuple[list[dict[str, float]], Runner]:
    torch.manual_seed(0)
    data = [{"inputs": torch.randn(3)} for _ in range(14)]
    hooks = {
        "logger": dict(type="LoggerHook", interval=3),
        "checkpoint": dict(type="CheckpointHook", by_epoch=False, interval=4),
        **settings.pop("hooks", {}),
    }
    wrapper = dict(
        type="mmvitssl.AutocastOptimWrapper",
        precision="fp32",
        optimizer=dict(type="SGD", lr=0.1),
        clip_grad=dict(max_norm=0.5),
    )
    runner = Runner(
        Line(),
        str(folder),
        train_dataloader=DataLoader(data, batch_size=2),
        train_cfg=settings.pop("loop", dict(by_epoch=True, max_epochs=2)),
        optim_wrapper=wrapper,
        default_hooks=hooks,
        log_processor=dict(window_size=2, by_epoch=settings.pop("by_epoch", True)),
        experiment_name=name,
        log_level="ERROR",
        **settings,
    )
    runner.train()
    return logged(folder), runner


def without_times(lines: list[dict[str, float]]) -> list[dict[str, float]]:
    times = ("time", "data_time", "memory")
    return [{k: v for k, v in line.items() if k not in times} for line in lines]


ITERATIONS = dict(type="IterBasedTrainLoop", max_iters=11)


@pytest.mark.parametrize("loop", [None, ITERATIONS], ids=["epochs", "iterations"])
def test_the_log_is_mmengines(tmp_path: Path, loop: dict[str, Any] | None) -> None:
    settings = {} if loop is None else dict(loop=loop, by_epoch=False)
    name = f"log-{loop is None}"
    plain, eager = run(tmp_path / "plain", f"{name}-plain", **dict(settings))
    deferred, late = run(
        tmp_path / "deferred", f"{name}-deferred",
        hooks=dict(runtime_info=dict(type="mmvitssl.DeferredLogsHook")), **dict(settings),
    )  # fmt: skip
    assert without_times(plain) == without_times(deferred)
    assert len(plain) >= 3 and {"grad_norm", "loss_a", "share", "lr"} <= set(plain[0])
    for key in ("train/loss", "train/grad_norm"):
        one, other = (r.message_hub.get_scalar(key)._log_history for r in (eager, late))
        assert one.tolist() == other.tolist()
    held = torch.load(tmp_path / "deferred" / "iter_4.pth", weights_only=False)
    scalar = held["message_hub"]["log_scalars"]["train/loss_a"]
    kept = scalar["_log_history"] if isinstance(scalar, dict) else scalar._log_history
    assert len(kept) == 4


def test_it_waits_once_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    for name in ("item", "tolist"):
        original = getattr(Tensor, name)

        def counted(self: Tensor, original: Any = original) -> Any:
            waits.append(self.shape)
            return original(self)

        monkeypatch.setattr(Tensor, name, counted)
    hook = dict(runtime_info=dict(type="mmvitssl.DeferredLogsHook"))
    run(tmp_path / "a", "waits-a", hooks=hook)
    deferred = len(waits)
    waits.clear()
    run(tmp_path / "b", "waits-b")
    # six lines, three checkpoints, and two seeds of each epoch against 14 x 4 values
    assert deferred <= 13 < 14 * 4 <= len(waits)


def test_graphs_of_earlier_steps_are_dropped() -> None:
    class Stand:
        optim_wrapper = None
        iter, max_iters = 0, 100
        train_dataloader = range(50)

    hook = DeferredLogsHook()
    hook._interval = 10
    weight = torch.ones(1, requires_grad=True)
    hook.after_train_iter(Stand(), 0, outputs={"loss": (weight * 2).sum(), "step": 3})  # type: ignore[arg-type]
    assert hook._held[0]["loss"].grad_fn is None and hook._held[0]["step"] == 3
