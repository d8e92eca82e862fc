"""Parts of configs that make full-size ones small."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def view(size: int, interpolation: str) -> list[dict[str, Any]]:
    crop = dict(type="RandomResizedCrop", size=size, scale=(0.3, 1.0), interpolation=interpolation)
    return [dict(type="RandomFlip"), crop]


def loader(data: Path, views: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    pipeline = [dict(type="LoadImage"), dict(type="MultiView", views=views), dict(type="PackViews")]
    return dict(
        batch_size=8,
        drop_last=True,
        sampler=dict(type="EpochSampler", **settings),
        collate_fn=dict(type="mmvitssl.collate_views"),
        dataset=dict(type="ImageFolder", root=str(data), pipeline=pipeline),
    )


def schedule(epochs: int, lr: float) -> dict[str, Any]:
    cosine = dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True)
    return {
        "param_scheduler": [cosine],
        "train_cfg.max_epochs": epochs,
        "optim_wrapper.optimizer.lr": lr,
        "optim_wrapper.accumulative_counts": 1,
        "auto_scale_lr.enable": False,
        "default_hooks.logger.interval": 1,
        "default_hooks.checkpoint.interval": epochs,
        "log_processor.window_size": 1,
    }
