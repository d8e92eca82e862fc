"""Full-size segmentation configs made small, on the demo's scenes; their structure stays."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config
from mmseg.registry import DATASETS

from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from tests.test_tools.programs import ROOT, inherited

TRANSFER = ROOT / "configs/transfer"
ADE20K = sorted((TRANSFER / "ade20k").glob("*.py"))
CITYSCAPES = sorted((TRANSFER / "cityscapes").glob("*.py"))
CAMVID = sorted((TRANSFER / "camvid").glob("[!m]*.py"))  # all but Mask R-CNN
WIDTH = 16
CHANNELS = 16
ARCH = dict(embed_dim=WIDTH, depth=4, num_heads=2)
SWIN_ARCH = dict(embed_dim=8, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))
SIDE = 64
# where the demo's data lies, in the layout of each benchmark
FOLDERS = {
    "ade20k": ("images/{}", "masks/{}"),
    "camvid": ("images/{}", "masks/{}"),
    "cityscapes": ("leftImg8bit/{}", "gtFine/{}"),
}


def side_of(backbone: Any) -> int:
    """Of a small image: as many pixels as whole patches hold."""
    patch = 14 if backbone.encoder.get("patch_size") == 14 else 16
    return SIDE // patch * patch


def shrink_backbone(backbone: Any) -> tuple[int, ...]:
    """Four blocks or stages, at a quarter of an image; channels of the levels."""
    if backbone.encoder.type.endswith("SwinTransformer"):
        backbone.encoder.update(arch=SWIN_ARCH, window_size=4)
        return 8, 16, 32, 64
    backbone.encoder.update(arch=ARCH, image_size=side_of(backbone))
    backbone.levels = (0, 1, 2, 3)
    return (WIDTH,) * 4


def shrink_neck(neck: Any) -> tuple[int, ...]:
    if neck.type == "MLANeck":
        neck.update(in_channels=[WIDTH] * 4, out_channels=CHANNELS)
        return (CHANNELS,) * 4
    neck.in_channels = WIDTH
    return (WIDTH,) * 4


def shrink_head(head: Any, widths: tuple[int, ...]) -> None:
    """Few channels; what they are of stays, and so do the numbers of layers and classes."""
    if isinstance(head.in_channels, int):
        head.in_channels = widths[head.get("in_index", -1)]
        head.channels = head.in_channels if head.get("num_convs") == 0 else CHANNELS
        return
    head.in_channels = list(widths)
    if head.type == "SETRMLAHead":
        head.update(mla_channels=8, channels=32)
    else:
        head.channels = CHANNELS


def shrink_model(model: Any) -> None:
    widths = shrink_backbone(model.backbone)
    if "neck" in model:
        widths = shrink_neck(model.neck)
    auxiliary = model.auxiliary_head
    for head in [model.decode_head, *(auxiliary if isinstance(auxiliary, list) else [auxiliary])]:
        shrink_head(head, widths)
    side = side_of(model.backbone)
    model.data_preprocessor.size = (side, side)
    if model.test_cfg.mode == "slide":
        stride = round(side * model.test_cfg.stride[0] / model.test_cfg.crop_size[0])
        model.test_cfg.update(crop_size=(side, side), stride=(stride, stride))


def shrink_pipeline(transforms: Any, share: float) -> None:
    """Every size of a pipeline, in proportion."""
    for transform in transforms:
        for key in ("scale", "crop_size"):
            if key in transform:
                transform[key] = tuple(round(side * share) for side in transform[key])


def shrink_data(config: Config, data: Path, benchmark: str) -> None:
    crops = [t.crop_size[0] for t in config.train_dataloader.dataset.pipeline if "crop_size" in t]
    for part, split in (("train", "train"), ("val", "val"), ("test", "val")):
        loader = config.get(f"{part}_dataloader")
        if loader is None:
            continue
        loader.update(num_workers=0, persistent_workers=False)
        images, labels = (folder.format(split) for folder in FOLDERS[benchmark])
        loader.dataset.update(
            data_root=f"{data}/", data_prefix=dict(img_path=images, seg_map_path=labels)
        )
        own = DATASETS.get(loader.dataset.type).METAINFO
        if own:  # the scenes have few of the benchmark's labels: its classes are meant
            loader.dataset.metainfo = dict(classes=own["classes"], palette=own["palette"])
        shrink_pipeline(loader.dataset.pipeline, side_of(config.model.backbone) / crops[0])


def shrink_schedule(config: Config) -> None:
    """Two steps of two images, and what runs on CPUs."""
    config.train_dataloader.batch_size = 2
    config.train_cfg.val_interval = 2 if "val_dataloader" in config else 3
    config.default_hooks.checkpoint.interval = 2
    config.default_hooks.logger.interval = 1
    if config.optim_wrapper.type == "AmpOptimWrapper":
        config.optim_wrapper.type = "OptimWrapper"


def small_segmentor(path: Path, data: Path | None = None) -> Config:
    """The config, inherited by package name and made small; ``data``: also its loaders."""
    with TemporaryDirectory() as folder:
        length = {} if data is None else {"train_cfg.max_iters": 2}
        config = read_config(str(inherited(path, Path(folder))), length)
    launch.prepare_scope(config)
    shrink_model(config.model)
    if data is not None:
        shrink_data(config, data, path.parent.name)
        shrink_schedule(config)
    return config
