"""Every contrastive method, and RePre on it, trains from its full-size config made small."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

from demo import make_demo_data
from mmvitssl.engine import training
from tests.marks import some
from tests.test_tools.programs import ROOT, logged
from tests.test_tools.small_configs import loader, schedule, view

CASES = {
    "mocov3-vit": "mocov3_vit-small_32xb128-cosine-300e",
    "mocov3-swin": "mocov3_swin-tiny_32xb128-cosine-300e",
    "mocov2-vit": "mocov2_vit-small_8xb128-cosine-300e",
    "simclr-vit": "simclr_vit-small_32xb128-cosine-300e",
    "simclr-swin": "simclr_swin-tiny_32xb128-cosine-300e",
    "byol-vit": "byol_vit-small_32xb128-cosine-300e",
    "byol-swin": "byol_swin-tiny_32xb128-cosine-300e",
    "simsiam-vit": "simsiam_vit-small_32xb128-cosine-300e",
    "dino-vit": "dino_vit-small_8xb128-cosine-100e",
    "dino-swin": "dino_swin-tiny_8xb128-cosine-100e",
    "moby-vit": "moby_vit-small_8xb64-cosine-300e",
    "moby-swin": "moby_swin-tiny_8xb64-cosine-300e",
}
ALIKE = ("simclr-swin", "byol-swin", "moby-swin")  # a ViT of the method, a Swin of another
EPOCHS = 6


def shrink_encoder(encoder: Any) -> int:
    """A tiny encoder of the same kind; its width."""
    encoder.image_size = 32
    if encoder.type == "ViT":
        encoder.arch = dict(embed_dim=32, depth=4, num_heads=2)
        encoder.patch_size = 8
        return 32
    encoder.arch = dict(embed_dim=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8))
    encoder.window_size = 2
    return 64


def shrink_task(task: Any) -> None:
    """Tiny projectors, predictors, queues and decoders."""
    for part in ("projector", "predictor"):
        if part in task:
            task[part].hidden_channels = 32
            if part == "projector" and task[part].type == "ProjectionMLP":
                task[part].out_channels = 16
    if task.head.type == "QueueInfoNCE":
        task.head.size = 32
    if task.type == "SelfDistillation":
        task.projector.update(prototypes=32, bottleneck=16)
        task.local_views = (2, 3)
    if task.type == "Reconstruction":
        shrink_reconstruction(task)


def shrink_reconstruction(task: Any) -> None:
    """All four levels, or the deepest alone where the config has one; the literal width stays."""
    if task.neck.width is not None:
        task.neck.width = 16


def write_config(folder: Path, path: Path, data: Path) -> Path:
    config = Config.fromfile(path)
    shrink_encoder(config.model.encoder)
    for task in config.model.tasks.values():
        shrink_task(task)
    views = [dict(num=2, transforms=view(32, "bilinear"))]
    if "distillation" in config.model.tasks:
        views.append(dict(num=2, transforms=view(16, "bilinear")))
    config.train_dataloader = loader(data, views, shuffle=True)
    config.merge_from_dict(schedule(epochs=EPOCHS, lr=2e-3))
    for hook in config.custom_hooks:
        if hook.type == "CollapseHook":
            hook.update(interval=2, patience=1000)
    config.dump(folder / "config.py")
    return folder / "config.py"


def train(config: Path, work_dir: Path, name: str) -> Any:
    """Through the program's own preparation, in this process."""
    args = Namespace(
        config=str(config), work_dir=str(work_dir), resume=None, amp=None, compile=None,
        auto_scale_lr=False, pretrained=None, pretrained_source=None, launcher="none", local_rank=0,
        cfg_options={"experiment_name": name},
    )  # fmt: skip
    return training.train(args)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen real scenes over photographs."""
    out = tmp_path_factory.mktemp("data") / "demo"
    make_demo_data(out, train=16, val=2, seed=0, image_size=64)
    return out / "images" / "train"


@pytest.mark.slow
@pytest.mark.parametrize("repre", some([False, True], bool), ids=["alone", "repre"])
@pytest.mark.parametrize("name", some(CASES, lambda name: name not in ALIKE))
def test_it_trains(name: str, repre: bool, data: Path, tmp_path: Path) -> None:
    method, stem = name.split("-")[0], f"{CASES[name]}_in1k.py"
    path = f"repre/repre-{stem}" if repre else f"{method}/{stem}"
    config = write_config(tmp_path, ROOT / "configs" / path, data)
    runner = train(config, tmp_path / "run", f"{name}-{repre}")
    lines = logged(tmp_path / "run")
    assert len(lines) == 2 * EPOCHS
    assert all(np.isfinite(value) for line in lines for value in line.values())
    (task,) = (t for t in ("contrastive", "distillation") if f"raw_{t}" in lines[0])
    assert any(f"{task}_feature_rank" in line for line in lines)
    if repre:
        errors = [line["reconstruction_error"] for line in lines]
        assert np.mean(errors[-2:]) < 0.98 * np.mean(errors[:2])
        assert lines[-1]["weight_reconstruction"] != lines[0]["weight_reconstruction"]
    model = runner.model
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    if model.target is not None:
        assert int(model.target.updates) == 2 * EPOCHS
        online = dict(model.encoder.named_parameters())
        distances = [
            (online[key] - value).abs().max()
            for key, value in model.target["encoder"].named_parameters()
            if online[key].requires_grad
        ]
        assert max(distances) > 0  # it follows, and is not the same


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    some(sorted((ROOT / "configs/repre/ablations").glob("*.py")), lambda path: "vit" in path.name),
    ids=lambda path: path.name.split("-32xb")[0],
)
def test_ablations_of_repre_train(path: Path, data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, path, data)
    option = Config.fromfile(config)
    option.train_cfg.max_epochs = 3
    option.dump(config)
    train(config, tmp_path / "run", path.stem)
    errors = [line["reconstruction_error"] for line in logged(tmp_path / "run")]
    assert len(errors) == 6 and np.isfinite(errors).all()
    assert np.mean(errors[-2:]) < np.mean(errors[:2])


@pytest.mark.slow
def test_dino_schedules_run(data: Path, tmp_path: Path) -> None:
    config = Config.fromfile(
        write_config(tmp_path, ROOT / f"configs/dino/{CASES['dino-vit']}_in1k.py", data)
    )
    config.dump(tmp_path / "config.py")
    runner = train(tmp_path / "config.py", tmp_path / "run", "dino-schedules")
    groups = runner.optim_wrapper.optimizer.param_groups
    decays = sorted({round(group["weight_decay"], 3) for group in groups})
    assert decays[0] == 0.0 and 0.38 < decays[-1] <= 0.4
    assert runner.optim_wrapper.frozen == []
    center = runner.model.tasks["distillation"].head.center
    assert center.abs().sum() > 0
