"""The recipe of a detector or segmentor, made to fit an encoder, the data and the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmvitssl.apis.dense_data import DenseData, find_coco, find_masks
from mmvitssl.apis.plan import Choice
from mmvitssl.apis.recipes import CONFIGS
from mmvitssl.checkpoint.description import Description, build_encoder
from mmvitssl.config_tree import kind_of, listed, parts
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.dense_sizes import resolve_dense
from mmvitssl.engine.errors import UserError
from mmvitssl.engine.own_data import heads_of
from mmvitssl.engine.schedules import release_ends, resolve_schedules
from mmvitssl.models.backbones.architectures import architecture
from mmvitssl.models.backbones.contract import backbone_in
from mmvitssl.models.backbones.swin import swin_architecture
from mmvitssl.models.sizes import resolve_levels
from mmvitssl.registry import SCOPE

SIZES = {384: "small", 768: "base", 1024: "large"}
# encoders whose image size is that of the recipe: their sizes, and the default ``arch``
SIZED: dict[str, tuple[Callable[[Any], Mapping[str, Any]], str]] = {
    "ViT": (architecture, "base"),
    "SwinTransformer": (swin_architecture, "tiny"),
}
# settings of an encoder that only pretraining needs, or that the recipe says
LEFT_OUT = ("mask_token", "unknown_position", "initialisation", "freeze_patch_embed", "image_size",
            "drop_path", "gradient_checkpointing", "relative_grid", "interpolation", "lora_rank",
            "lora_alpha")  # fmt: skip
SIZE_KEYS = {"scale", "scales", "crop_size"}  # of transforms


@dataclass(frozen=True)
class Task:
    """A kind of dense prediction.

    Attributes:
        recipe: beginning of the names of its configs, below ``configs/transfer``.
        find: looks for its data.
        images, batch, passes: of the published training.
        side: of its images or crops, in pixels; on a CPU.
        on_cpu: likewise, on a CPU.
        memory: GiB of a GPU that an image of that size takes with ViT-B.
    """

    recipe: str
    find: Callable[[str | Path, Path], DenseData]
    images: int
    batch: int
    passes: float
    side: int
    on_cpu: int
    memory: float


TASKS = {
    "mask-rcnn": Task("coco/mask-rcnn", find_coco, 117_266, 32, 12, 800, 256, 8.0),
    "cascade-mask-rcnn": Task("coco/cascade-mask-rcnn", find_coco, 117_266, 32, 12, 800, 256, 8.0),
    "upernet": Task("ade20k/upernet", find_masks, 20_210, 16, 126.7, 512, 128, 5.0),
}


def dense_config(task: str, described: Description) -> tuple[Config, str]:
    """Adapt the recipe of a task to the encoder of a checkpoint.

    Returns:
        The config, and the name of the recipe that it comes from.
    """
    with torch.device("meta"):
        spec = backbone_in(build_encoder(described, "The checkpoint")).spec
    plain, width = spec.has_patch_tokens, spec.embed_dim
    name = f"vit-{SIZES.get(width, 'small' if width < 768 else 'base')}" if plain else "swin-tiny"
    folder, _, stem = TASKS[task].recipe.partition("/")
    recipes = CONFIGS / "transfer" / folder
    found = list(recipes.glob(f"{stem}_{name}_*.py")) or recipes.glob(f"{stem}_vit-base_*.py")
    paths = sorted(found, key=lambda path: len(path.name))
    config = read_config(str(paths[0]))
    model = config.model
    _set_encoder(model.backbone, described.encoder)
    try:
        levels = (
            resolve_levels("levels", model.backbone.levels, spec.depth)
            if plain
            else tuple(range(spec.depth))[-4:]
        )
    except ValueError as error:
        raise UserError(
            f"An encoder of {spec.depth} blocks is too shallow for {task}: {error}"
        ) from error
    model.backbone.levels = list(levels)
    first = spec.patch_size / 4 if plain else spec.level_strides[levels[0]]
    _follow_encoder(config, first, plain)
    _fit_normalisation(model.data_preprocessor, described)
    return config, str(paths[0].relative_to(CONFIGS))


def _set_encoder(backbone: Any, encoder: Mapping[str, Any]) -> None:
    """Put the encoder of a checkpoint in the place of a recipe's, whose training settings stay."""
    kind = kind_of(encoder)
    if kind not in SIZED:
        backbone.encoder = {**encoder, "type": f"{SCOPE}.{kind}"}
        return
    recipe = backbone.encoder
    kept = {key: value for key, value in encoder.items() if key not in LEFT_OUT and key != "type"}
    if kept.get("relative_position") == "shared_bias":
        kept["relative_position"] = "block_bias"  # as in fine-tuning: every block gets the table
    # the position of the recipe is that of any table: the file's own takes its place
    if kept.get("position", "learned") != "none" and "position" in recipe:
        kept["position"] = recipe.position
    sizes, default = SIZED[kind]
    recipe.arch = {}
    recipe.update({**kept, "arch": dict(sizes(encoder.get("arch", default)))})


def _follow_encoder(config: Config, first: float, plain: bool) -> None:
    """Let all that reads the encoder's maps follow it; ``first``: stride of the first map."""
    model = config.model
    heads = [model[name] for name in ("decode_head", "auxiliary_head") if name in model]
    for part in (*listed(model.get("neck")), *heads):
        part.in_channels = None
    if heads and plain:
        model.decode_head.channels = None
    resolve_dense(config)
    if "roi_head" in model and first != 4:
        strides = [first * 2**level for level in range(4)]
        model.rpn_head.anchor_generator.strides = [*strides, 2 * strides[-1]]
        for name in ("bbox_roi_extractor", "mask_roi_extractor"):
            model.roi_head[name].featmap_strides = strides


def _fit_normalisation(preprocessor: Any, described: Description) -> None:
    if described.normalisation is not None:
        mean, std = described.normalisation
        preprocessor.mean = [round(255 * value, 4) for value in mean]
        preprocessor.std = [round(255 * value, 4) for value in std]


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_scaled(item, factor) for item in value)
    return max(round(value * factor), 1)


def set_size(config: Config, task: Task, side: int) -> None:
    """Set the size of images everywhere in a config."""
    factor = side / task.side
    encoder = config.model.backbone.encoder
    if kind_of(encoder) in SIZED:
        patch = encoder.get("patch_size", 16)
        size = encoder.get("image_size", side)
        size = size if isinstance(size, (list, tuple)) else (size, size)
        encoder.image_size = tuple(max(round(s * factor / patch), 1) * patch for s in size)
    for split in ("train", "val", "test"):
        for _, part in parts(config[f"{split}_dataloader"].dataset.get("pipeline")):
            for key in SIZE_KEYS & part.keys():
                part[key] = _scaled(part[key], factor)
    if "size" in config.model.data_preprocessor:
        config.model.data_preprocessor.size = (side, side)
    crops = config.model.get("test_cfg", {})
    if "crop_size" in crops:
        crops.crop_size, crops.stride = (side, side), (side * 2 // 3,) * 2


def set_data(config: Config, data: DenseData) -> None:
    """Set the two splits, and the classes of data sets and heads."""
    for part, split in (("train", data.train), ("val", data.val), ("test", data.val)):
        loader = config[f"{part}_dataloader"]
        old = loader.dataset
        settings = {"metainfo": dict(classes=data.classes), "pipeline": old.pipeline}
        if "_scope_" in old:
            settings["_scope_"] = old["_scope_"]
        if data.suffixes[0]:
            settings |= dict(
                type="BaseSegDataset", img_suffix=data.suffixes[0], seg_map_suffix=data.suffixes[1],
                data_prefix=dict(img_path=str(split.images), seg_map_path=str(split.annotations)),
                reduce_zero_label=data.reduce_zero, ann_file=split.names,
            )  # fmt: skip
            for step in settings["pipeline"]:
                if step.type == "LoadAnnotations":
                    step.reduce_zero_label = data.reduce_zero
        else:
            settings |= dict(
                type="CocoDataset", ann_file=str(split.annotations),
                data_prefix=dict(img=f"{split.images}/"),
            )  # fmt: skip
            # images without objects stay out of training; small ones do not
            settings |= (
                dict(filter_cfg=dict(filter_empty_gt=True)) if part == "train"
                else dict(test_mode=True)
            )  # fmt: skip
        loader.dataset = settings
    for part in ("val", "test"):
        if not data.suffixes[0]:
            config[f"{part}_evaluator"].ann_file = str(data.val.annotations)
    for _, head in heads_of(config.model):
        head["num_classes"] = len(data.classes)


def set_schedule(config: Config, chosen: Mapping[str, Choice], number: int, cpu: bool) -> None:
    """Set batch and length of the training; rates end with it."""
    batch, epochs = int(chosen["batch"].value), int(chosen["epochs"].value)
    total = max(number // batch, 1) * epochs
    config.train_dataloader.batch_size = batch
    workers = 0 if number <= 32 else 1 if cpu else 4
    for split in ("train", "val", "test"):
        config[f"{split}_dataloader"].update(num_workers=workers, persistent_workers=workers > 0)
    logger, keep = config.default_hooks.logger, config.default_hooks.checkpoint
    logger.interval = max(min(total // 50, 50), 1)
    keep.max_keep_ckpts = 2
    release_ends(config)
    unit, length = ("max_epochs", epochs) if "max_epochs" in config.train_cfg else (
        "max_iters", total)  # fmt: skip
    config.train_cfg.update({unit: length, "val_interval": max(length // 4, 1)})
    keep.interval = config.train_cfg.val_interval
    resolve_schedules(config)
    if cpu:
        wrapper = config.optim_wrapper
        for key in ("loss_scale", "dtype"):
            wrapper.pop(key, None)
        wrapper.type = "OptimWrapper"
        # activations of small images need no second forward
        config.model.backbone.encoder.pop("gradient_checkpointing", None)
    config.auto_scale_lr = dict(config.get("auto_scale_lr") or {}, enable=True)
