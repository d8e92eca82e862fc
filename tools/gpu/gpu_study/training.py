"""One run of the study: a pretraining without loader, runner or log, and its probes."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import init_default_scope
from torch import Tensor

import mmvitssl.compat
import mmvitssl.models.registered  # noqa: F401  (registers what the configs name)
from gpu_study.data import random_crops
from gpu_study.models import model_config
from gpu_study.probes import probe
from mmvitssl.registry import MODELS

PROBES = 4  # times that features are probed while a run trains
WEIGHT_DECAY, CLIP, BETAS = 0.05, 3.0, (0.9, 0.95)
ENDLESS = 10**6  # steps of a schedule whose end is not known yet
RESERVE = 20  # seconds that the last probe needs


def wait_for(device: str) -> float:
    """The time when the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()


class Training:
    """Makes training steps of a method.

    Args:
        args: of tools/gpu/study.py.
        method: its name.
        seed: of weights, order and crops.
        data: images and labels on the device.
        device: 'cpu' or 'cuda'.
    """

    def __init__(
        self, args: argparse.Namespace, method: str, seed: int, data: dict[str, Tensor], device: str
    ) -> None:
        torch.manual_seed(seed)
        config, self.crops = model_config(method, args.depth)
        config.seed = seed
        self.model: Any = MODELS.build(config).to(device).train()
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        self.parameters = [parameter for _, parameter in named]
        # DINO holds its last layer still for an epoch
        self.last_layer = [parameter for name, parameter in named if "last_layer" in name]
        self.rate, self.batch, self.images = args.lr, args.batch, data["train"]
        self.optimizer = torch.optim.AdamW(
            self._groups(named), lr=args.lr, betas=BETAS, fused=True
        )
        self.device = device
        self.order = torch.Generator().manual_seed(seed)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.per_epoch = max(len(self.images) // args.batch, 1)
        self.count = 0
        self.permuted = torch.arange(len(self.images))

    @staticmethod
    def _groups(named: list[tuple[str, Tensor]]) -> list[dict[str, Any]]:
        balancer = [p for n, p in named if "balancer" in n]
        others = [p for n, p in named if "balancer" not in n]
        groups: list[dict[str, Any]] = [
            dict(params=[p for p in others if p.ndim > 1], weight_decay=WEIGHT_DECAY),
            dict(params=[p for p in others if p.ndim <= 1], weight_decay=0.0),
            dict(params=balancer, weight_decay=0.0, scale=10.0),
        ]
        return [group for group in groups if group["params"]]

    @property
    def epoch(self) -> int:
        return self.count // self.per_epoch

    def _next_batch(self) -> dict[str, Any]:
        place = self.count % self.per_epoch
        if place == 0:
            self.permuted = torch.randperm(len(self.images), generator=self.order)
        index = self.permuted[place * self.batch : (place + 1) * self.batch]
        images = self.images[index.to(self.device, non_blocking=True)]
        views = [random_crops(images, crop, self.generator) for crop in self.crops]
        samples = {"index": index, "epoch": torch.full_like(index, self.epoch)}
        return {"views": views, "samples": samples}

    def _set_rate(self, total: int) -> None:
        """A tenth of linear warm-up, then half a cosine to zero."""
        warm = max(total // 10, 1)
        share = max(self.count - warm, 0) / max(total - warm, 1)
        factor = min((self.count + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * share))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor * group.get("scale", 1.0)

    def step(self, total: int) -> Tensor:
        """One training step of ``total``; returns the loss, which stays on the device."""
        batch = self._next_batch()
        self._set_rate(total)
        target, progress = self.model.target, self.count / total
        if target is not None and target.when == "before_forward":
            self.model.update_target(progress)
        data = self.model.data_preprocessor(batch, True)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            loss, _ = self.model.parse_losses(self.model(**data, mode="loss"))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.epoch == 0:
            for parameter in self.last_layer:
                parameter.grad = None
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()
        if target is not None and target.when == "after_step":
            self.model.update_target(progress)
        self.count += 1
        return loss.detach()


def planned_steps(args: argparse.Namespace, training: Training) -> int:
    """Time some steps, tell the rate, and read how many steps all runs train.

    Raises:
        TimeoutError: no time was left to train.
    """
    device, folder = training.device, Path(args.folder)
    timed = 20 if device == "cuda" else 2
    for _ in range(timed // 2):
        training.step(ENDLESS)
    start = wait_for(device)
    for _ in range(timed):
        training.step(ENDLESS)
    rate = timed / (wait_for(device) - start)
    (folder / f"{args.run}-{args.seeds[0]}.rate").write_text(str(rate))
    while not (folder / "plan").exists():
        if time.monotonic() > args.end - 30:
            raise TimeoutError("no time was left to train")
        training.step(ENDLESS)  # the others time theirs beside as much work as later
        wait_for(device)
    return int((folder / "plan").read_text()) * training.per_epoch


def train(
    training: Training, total: int, data: dict[str, Tensor], end: float
) -> dict[str, Any]:
    """Train for ``total`` steps, or until shortly before ``end``; what it was like.

    Raises:
        FloatingPointError: a loss that is not finite.
    """
    result: dict[str, Any] = {}
    start = wait_for(training.device)
    curve: list[dict[str, float]] = []
    losses: list[Tensor] = []
    marks = {round(total * (k + 1) / PROBES) for k in range(PROBES - 1)}
    while training.count < total:
        losses.append(training.step(total))
        epochs = training.count / training.per_epoch
        if training.count in marks:
            curve.append({"epoch": round(epochs, 1), **probe(training.model, data, False)})
        if training.count % 20 == 0 and time.monotonic() > end - RESERVE:
            result["cut_short_of"] = round(total / training.per_epoch, 1)
            break
    seconds = wait_for(training.device) - start
    values = torch.stack(losses).float().cpu()
    if not values.isfinite().all():
        first = int((~values.isfinite()).nonzero()[0])
        raise FloatingPointError(f"the loss is not finite from step {first} on")
    share = max(len(values) // 20, 1)
    return {
        **result,
        "epochs": round(training.count / training.per_epoch, 2),
        "steps": training.count,
        "loss_first": round(float(values[:share].mean()), 4),
        "loss_last": round(float(values[-share:].mean()), 4),
        "curve": curve,
        "train_seconds": round(seconds, 1),
        "images_per_s": round(training.count * training.batch / seconds, 1),
    }


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The run ``args.run`` with the seed ``args.seeds[0]``; its result for the JSON line."""
    init_default_scope("mmvitssl")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(2 if device == "cuda" else 1)
    method, seed = args.run, args.seeds[0]
    content = torch.load(Path(args.folder) / "data.pt", weights_only=True)
    data = {name: value.to(device) for name, value in content.items()}
    result = {"run": method, "seed": seed, "depth": args.depth, "batch": args.batch,
              "images": len(data["train"])}  # fmt: skip
    training = Training(args, method, seed, data, device)
    if method != "random":
        total = args.steps
        if total is None:
            total = planned_steps(args, training)
            training = Training(args, method, seed, data, device)
        result.update(train(training, total, data, args.end))
    return {**result, **probe(training.model, data, linear=True)}
