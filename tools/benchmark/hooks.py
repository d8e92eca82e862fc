"""Measure the share of a training's time that the health hooks take."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import VISUALIZERS

from benchmark.step import StepBench, synthetic_views
from mmvitssl.engine.hooks import CollapseHook, HealthHook
from mmvitssl.visualization import tracking  # noqa: F401  (registers its backend)

LONG = 1_000_000  # iterations of a training that affords all looks


@dataclass(frozen=True)
class HookTimes:
    """Seconds of steps and of looks of the hooks, one of each per round.

    Attributes:
        name: of the method.
        steps: a training step.
        health: a look of :class:`HealthHook`, picture and files included.
        collapse: a look of :class:`CollapseHook`; zeros where the config has none.
        health_steps, collapse_steps: training steps per look, at least.
        images: that one look of ``HealthHook`` encodes.
    """

    name: str
    steps: tuple[float, ...]
    health: tuple[float, ...]
    collapse: tuple[float, ...]
    health_steps: float
    collapse_steps: float
    images: int

    @property
    def shares(self) -> list[float]:
        """Time of both hooks over the time of the steps, in each round."""
        rounds = zip(self.steps, self.health, self.collapse, strict=True)
        return [
            (health / self.health_steps + collapse / self.collapse_steps) / step
            for step, health, collapse in rounds
        ]

    def line(self) -> str:
        """One JSON line; shares in percent."""
        percent = [100 * share for share in self.shares]
        values: dict[str, Any] = {
            "method": self.name,
            "step_s": round(statistics.median(self.steps), 4),
            "health_s": round(statistics.median(self.health), 4),
            "health_images": self.images,
            "health_steps": round(self.health_steps),
            "collapse_s": round(statistics.median(self.collapse), 5),
            "collapse_steps": round(self.collapse_steps),
            "share_percent": round(statistics.median(percent), 3),
            "least_percent": round(min(percent), 3),
            "most_percent": round(max(percent), 3),
        }
        return json.dumps(values)


def measure_hooks(bench: StepBench, config: Config, repeat: int, images: int = 256) -> HookTimes:
    """Time steps and looks in turns, so that what else the machine does meets both alike.

    The shares are those of a training that is long enough for looks at ``images`` images; a longer
    one than ten such looks pays less.

    Args:
        bench: makes the steps; of ``config``.
        config: states how often :class:`CollapseHook` looks.
        repeat: rounds.
        images: that a look of :class:`HealthHook` encodes.
    """
    settings = [hook for hook in config.get("custom_hooks", []) if hook.type == "CollapseHook"]
    collapse = None
    if settings:
        collapse = CollapseHook(**{k: v for k, v in settings[0].items() if k != "type"})
    health_share = HealthHook().share
    views = synthetic_views(config, images)[0]
    batch = {"views": [views], "samples": {"label": torch.arange(images) % 10}}
    times: dict[str, list[float]] = {"steps": [], "health": [], "collapse": []}
    with tempfile.TemporaryDirectory() as folder:
        run: Any = SimpleNamespace(
            model=bench.model,
            log_dir=folder,
            visualizer=VISUALIZERS.build(
                dict(config.visualizer, save_dir=folder, name=f"hooks of {bench.name}")
            ),
            message_hub=MessageHub.get_instance("hooks"),
            logger=MMLogger.get_current_instance(),
            train_dataloader=SimpleNamespace(batch_size=bench.batch_size),
            max_iters=LONG,
            iter=0,
        )
        if collapse is not None:
            collapse.before_train(run)
            run.iter = collapse.interval - 1
            collapse.before_train_iter(run, 0, batch)  # from now on it keeps embeddings
        bench.step()
        for number in range(repeat):
            health = HealthHook(images=images)
            health.before_train(run)
            look = partial(_timed, health.before_train_iter, run, 0, batch)
            parts: list[tuple[str, Callable[[], float]]] = [
                ("steps", bench.timed),
                ("health", look),
            ]
            for name, part in reversed(parts) if number % 2 else parts:
                times[name].append(part())
            looks = 0.0 if collapse is None else _timed(collapse.after_train_iter, run, 0)
            times["collapse"].append(looks)
        for backend in run.visualizer._vis_backends.values():
            backend.close()
    return HookTimes(
        bench.name,
        tuple(times["steps"]),
        tuple(times["health"]),
        tuple(times["collapse"]),
        images / (health_share * bench.batch_size),
        collapse.interval if collapse else 1,
        images,
    )


def _timed(call: Callable[..., object], *arguments: Any) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start
