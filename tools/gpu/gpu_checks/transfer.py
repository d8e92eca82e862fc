"""Detectors and segmentors on a device, with whatever operators mmcv has."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, MODELS, DefaultScope

import mmvitssl.compat  # noqa: F401  (before any config is read)
from gpu_checks.programs import TRAIN, Run, call, logged_losses
from gpu_checks.report import Skip, close
from gpu_checks.small import dicts
from gpu_checks.steps import Gradients, difference, full_float32
from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from mmvitssl.randomness import seeded

CONFIGS = {
    "mask-rcnn": "configs/demo/mask-rcnn_vit-p8_demo.py",
    "upernet": "configs/demo/upernet_vit-p8_demo.py",
}
METRICS = {"mask-rcnn": "coco/bbox_mAP_50", "upernet": "mIoU"}
LOSS, GRADIENT = 1e-2, 5e-2
RANDOM_RATES = ("drop_path", "drop_path_rate", "dropout_ratio")


def operators(device: str) -> str:
    """NMS keeps the CPU's boxes; RoIAlign returns the CPU's values in both memory layouts."""
    from mmcv.ops import nms, roi_align

    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(2000, 2, generator=generator) * 400
    side = torch.rand(2000, 2, generator=generator) * 80 + 1
    boxes = torch.cat([corner, corner + side], 1)
    scores = torch.randperm(2000, generator=generator).float()
    kept = nms(boxes, scores, 0.5)[1]
    if not torch.equal(nms(boxes.to(device), scores.to(device), 0.5)[1].cpu(), kept):
        raise AssertionError("NMS keeps other boxes than on the CPU")
    maps = torch.randn(2, 32, 100, 100, generator=generator)
    rois = torch.cat([torch.zeros(200, 1), boxes[:200]], 1)
    arguments = (7, 0.25, 0, "avg", True)
    expected, off = roi_align(maps, rois, *arguments), 0.0
    for layout in (torch.contiguous_format, torch.channels_last):
        moved = maps.to(device, memory_format=layout)
        found = roi_align(moved, rois.to(device), *arguments).cpu()
        off = max(off, float((found - expected).norm() / expected.norm()))
    close("RoIAlign", off, 1e-5)
    where = getattr(sys.modules["mmcv._ext"], "__file__", None)
    return f"NMS keeps {len(kept)} boxes as on the CPU, RoIAlign off by {off:.1e}; {where}"


def _still(config: Config) -> None:
    """Nothing of the model is random: no dropout, all anchors and proposals are taken."""
    for node in dicts(config.model):
        for key in RANDOM_RATES:
            if key in node:
                node[key] = 0.0
        if "sampler" in node and "num" in node["sampler"]:
            node["sampler"]["num"] = 10**6


def _loaded(config: Config, data: Path, number: int) -> Any:
    """The first samples of the training set, augmented as seed 0 does."""
    config.train_dataloader.dataset.data_root = f"{data}/"
    with seeded(0):
        dataset = DATASETS.build(config.train_dataloader.dataset)
        return pseudo_collate([dataset[index] for index in range(number)])


def dense_losses(
    name: str, device: str, data: Path, batch: int = 2
) -> tuple[dict[str, float], Gradients]:
    """Losses and gradients of a training step of a demo config on demo data."""
    if not MMLogger.check_instance_created("check"):
        MMLogger.get_instance("check", log_level="ERROR")
    config = read_config(CONFIGS[name])
    _still(config)
    with DefaultScope.overwrite_default_scope(launch.prepare_scope(config)):
        torch.manual_seed(0)
        model = revert_sync_batchnorm(MODELS.build(config.model))
        model.init_weights()
        samples = _loaded(config, data, batch)
        model = model.to(device).train()
        inputs = model.data_preprocessor(samples, True)
        loss, logs = model.parse_losses(model(**inputs, mode="loss"))
        loss.backward()
    grads = {n: p.grad.double().cpu() for n, p in model.named_parameters() if p.grad is not None}
    return {key: float(value.detach()) for key, value in logs.items()}, grads


def dense_step(name: str, device: str, data: Path) -> str:
    """Losses and gradients of Mask R-CNN, or of UperNet, equal the CPU's."""
    with full_float32():
        expected, reference = dense_losses(name, "cpu", data)
        found, grads = dense_losses(name, device, data)
    losses = {key: value for key, value in expected.items() if "loss" in key}
    off = {key: abs(found[key] - value) / max(abs(value), 1e-3) for key, value in losses.items()}
    most = max(off, key=lambda key: off[key])
    rest, worst = difference(grads, reference)
    close(f"{most} ({found[most]}, on the CPU {expected[most]})", off[most], LOSS)
    close(f"gradient (most in {worst})", rest, GRADIENT)
    return (
        f"loss {found['loss']:.4f}, losses off the CPU's by at most {off[most]:.1e}, "
        f"gradients by {rest:.1e}"
    )


@dataclass(frozen=True)
class DenseTrainings:
    """Short trainings of the demo's detector and segmentor.

    Attributes:
        device: 'cpu' or 'cuda'.
        folder: for work folders.
        data: as :func:`demo.make_demo_data` writes it.
        iterations: of a training.
        run: of a program, as :func:`~gpu_checks.programs.call`.
    """

    device: str
    folder: Path
    data: Path
    iterations: int
    run: Run = call

    def options(self, name: str) -> list[str]:
        """Command-line options of the training and the test."""
        parts = ("train", "test")
        options = [f"{part}_dataloader.dataset.data_root={self.data}/" for part in parts]
        if name == "mask-rcnn":
            options.append(f"test_evaluator.ann_file={self.data}/annotations/instances_val.json")
        return ["--cfg-options", *options, f"train_cfg.max_iters={self.iterations}",
                f"default_hooks.checkpoint.interval={self.iterations}",
                "default_hooks.logger.interval=1", "log_processor.window_size=1"]  # fmt: skip

    def train(self, name: str, precision: str) -> str:
        """Train; after float32 also test, and return the metric.

        Raises:
            Skip: fp16 on a CPU.
        """
        if precision == "fp16" and self.device == "cpu":
            raise Skip("needs a GPU")
        config, work_dir = CONFIGS[name], self.folder / f"{name}-{precision}"
        amp = [] if precision == "fp32" else ["--amp", precision]
        self.run(sys.executable, TRAIN, config, "--work-dir", work_dir, *amp, *self.options(name))
        losses = logged_losses(work_dir, self.iterations)
        text = f"{self.iterations} iterations, loss {losses[0]:.5f} -> {losses[-1]:.5f}"
        if precision == "fp32":
            text += f"; test.py: {self.test(name, work_dir)}"
        return text

    def test(self, name: str, work_dir: Path) -> str:
        """Test the trained checkpoint; its metric in words."""
        out = work_dir / "results.json"
        self.run(
            sys.executable, "tools/test.py", CONFIGS[name], work_dir / "last.pth", "--work-dir",
            work_dir, "--out", out, *self.options(name),
        )  # fmt: skip
        value = json.loads(out.read_text()).get(METRICS[name], "none, nothing was detected")
        return f"{METRICS[name]} {value}"
