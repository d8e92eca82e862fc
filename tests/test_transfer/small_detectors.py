"""Full-size detection configs made small, on the demo's scenes; their structure stays."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config

from demo import CLASSES
from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from tests.test_tools.programs import ROOT, inherited

COCO = ROOT / "configs/transfer/coco"
DETECTION = sorted(COCO.glob("*.py"))
WIDTH = 32
ARCH = dict(embed_dim=WIDTH, depth=4, num_heads=2)
SWIN_ARCH = dict(embed_dim=8, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))
SIDE = 64
SCALE = SIDE / 1024


def shrink_backbone(backbone: Any) -> tuple[int, ...]:
    """Four blocks (the last one global), or stages; channels of the levels."""
    encoder = backbone.encoder
    if encoder.type.endswith("SwinTransformer"):
        encoder.update(arch=SWIN_ARCH, window_size=4)
        return 8, 16, 32, 64
    patch = encoder.get("patch_size", 16)
    encoder.update(arch=ARCH, image_size=SIDE // patch * patch)
    backbone.levels = 4 if backbone.levels != 1 else 1
    if "global_blocks" in backbone:
        backbone.update(global_blocks=1, window_size=3, relative_grid=(4, 4))
    return (WIDTH,) * backbone.levels


def shrink_neck(neck: Any, channels: tuple[int, ...]) -> None:
    for part in neck if isinstance(neck, list) else [neck]:
        many = isinstance(part.in_channels, (list, tuple))
        part.in_channels = list(channels) if many else channels[-1]
        if "out_channels" in part or part.type.endswith("SimpleFeaturePyramid"):
            part.out_channels = WIDTH


def shrink_heads(model: Any) -> None:
    """Narrow heads for the demo's classes, and few proposals."""
    model.rpn_head.update(in_channels=WIDTH, feat_channels=WIDTH)
    model.rpn_head.anchor_generator.scales = [2]
    roi = model.roi_head
    for extractor in (roi.bbox_roi_extractor, roi.mask_roi_extractor):
        extractor.out_channels = WIDTH
    boxes = roi.bbox_head if isinstance(roi.bbox_head, list) else [roi.bbox_head]
    for head in [*boxes, roi.mask_head]:
        head.update(in_channels=WIDTH, num_classes=len(CLASSES))
        if head.type != "Shared2FCBBoxHead":
            head.conv_out_channels = WIDTH
    for head in boxes:
        head.fc_out_channels = WIDTH
    few = dict(nms_pre=50, max_per_img=20)
    model.train_cfg.rpn_proposal.update(few)
    model.test_cfg.rpn.update(few)
    stages = model.train_cfg.rcnn
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = 16
    model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=5)


def shrink_pipeline(transforms: Any) -> None:
    """Every size of a pipeline, in proportion."""
    for transform in transforms:
        if isinstance(transform, list):
            shrink_pipeline(transform)
            continue
        for key in ("scale", "crop_size"):
            if key in transform:
                transform[key] = tuple(round(side * SCALE) for side in transform[key])
        if "scales" in transform:
            transform.scales = [tuple(round(x * SCALE) for x in pair) for pair in transform.scales]
        shrink_pipeline(transform.get("transforms", ()))


def shrink_data(config: Config, data: Path) -> None:
    for part, name in (("train", "train"), ("val", "val"), ("test", "val")):
        loader = config[f"{part}_dataloader"]
        loader.update(num_workers=0, persistent_workers=False)
        dataset = loader.dataset.get("dataset", loader.dataset)
        dataset.update(
            data_root=f"{data}/",
            ann_file=f"annotations/instances_{name}.json",
            data_prefix=dict(img=f"images/{name}/"),
            metainfo=dict(classes=CLASSES),
        )
        shrink_pipeline(dataset.pipeline)
    for part in ("val", "test"):
        config[f"{part}_evaluator"].ann_file = f"{data}/annotations/instances_val.json"


def shrink_schedule(config: Config) -> None:
    """Two steps of two images, and what runs on CPUs."""
    config.train_dataloader.batch_size = 2
    steps = config.train_cfg.type == "IterBasedTrainLoop"
    config.train_cfg.val_interval = 2 if steps else 1
    config.default_hooks.checkpoint.interval = config.train_cfg.val_interval
    config.default_hooks.logger.interval = 1
    config.default_hooks.visualization.score_thr = 0.0  # two steps teach no certainty
    config.optim_wrapper.type = "OptimWrapper"
    repeated = config.train_dataloader.dataset
    if "times" in repeated:
        repeated.times = 1


def small_detector(path: Path, data: Path | None = None) -> Config:
    """The config, inherited by package name and made small.

    With ``data`` also its loaders, for scenes of :data:`SIDE` pixels.
    """
    with TemporaryDirectory() as folder:
        mine = str(inherited(path, Path(folder)))
        config = read_config(mine)
        if data is not None:
            steps = config.train_cfg.type == "IterBasedTrainLoop"
            length = {"train_cfg.max_iters": 2} if steps else {"train_cfg.max_epochs": 1}
            config = read_config(mine, length)
    launch.prepare_scope(config)
    shrink_neck(config.model.neck, shrink_backbone(config.model.backbone))
    shrink_heads(config.model)
    divisor = config.model.data_preprocessor.pad_size_divisor
    config.model.data_preprocessor.pad_size_divisor = SIDE if divisor == 1024 else divisor
    if data is not None:
        shrink_data(config, data)
        shrink_schedule(config)
    return config
