"""One call from a checkpoint and labelled images to a detector or segmentor."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

import mmvitssl
from mmvitssl.apis.dense_data import DenseData, find_coco, find_masks
from mmvitssl.apis.machine import Machine, find_machine
from mmvitssl.apis.plan import STATED, Choice, power_of_two
from mmvitssl.apis.recipes import CONFIGS
from mmvitssl.apis.written_configs import config_text, write_config
from mmvitssl.checkpoint.description import Description, build_encoder
from mmvitssl.checkpoint.locate import check_weights_file
from mmvitssl.checkpoint.self_described import describe_file
from mmvitssl.engine import training
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.launch import UserError, building
from mmvitssl.extras import require
from mmvitssl.models.backbones.architectures import architecture
from mmvitssl.models.backbones.contract import backbone_in
from mmvitssl.models.backbones.swin import swin_architecture
from mmvitssl.models.sizes import resolve_levels
from mmvitssl.registry import SCOPE

OUT = "work_dirs/transfer"
SIZES = {384: "small", 768: "base", 1024: "large"}
# encoders whose image size is that of the recipe: their sizes, and the default ``arch``
SIZED: dict[str, tuple[Callable[[Any], Mapping[str, Any]], str]] = {
    "ViT": (architecture, "base"),
    "SwinTransformer": (swin_architecture, "tiny"),
}
# settings of an encoder that only pretraining needs, or that the recipe says
LEFT_OUT = ("mask_token", "unknown_position", "initialisation", "freeze_patch_embed", "image_size",
            "drop_path", "gradient_checkpointing", "relative_grid", "interpolation")  # fmt: skip


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
    "upernet": Task("ade20k/upernet", find_masks, 20_210, 16, 126.7, 512, 128, 5.0),
}
CPU_IMAGES = 150  # of a training, per core
MOST_PASSES = 300


@dataclass(frozen=True)
class Transferred:
    """A trained detector or segmentor.

    Attributes:
        checkpoint: path of the last one.
        config: path of the config, which trains the same again.
        metrics: of the validation after training, as they are logged.
    """

    checkpoint: Path
    config: Path
    metrics: dict[str, float]


def dense_config(task: str, described: Description) -> tuple[Config, str]:
    """The recipe of a task for the encoder of a checkpoint.

    Returns:
        The config, and the name of the recipe that it comes from.
    """
    with torch.device("meta"):
        spec = backbone_in(build_encoder(described, "The checkpoint")).spec
    plain, width = spec.has_patch_tokens, spec.embed_dim
    name = f"vit-{SIZES.get(width, 'small' if width < 768 else 'base')}" if plain else "swin-tiny"
    folder, _, stem = TASKS[task].recipe.partition("/")
    paths = sorted(
        (CONFIGS / "transfer" / folder).glob(f"{stem}_{name}_*.py"), key=lambda path: len(path.name)
    )
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
    _fit_necks(model, spec.channels_of(levels), first, plain)
    _fit_normalisation(model.data_preprocessor, described)
    return config, str(paths[0].relative_to(CONFIGS))


def _set_encoder(backbone: Any, encoder: Mapping[str, Any]) -> None:
    """Put the encoder of a checkpoint in the place of a recipe's, whose training settings stay."""
    kind = str(encoder["type"]).rpartition(".")[2]
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


def _fit_necks(model: Any, channels: Sequence[int], first: float, plain: bool) -> None:
    """Channels and strides, the first of which is given, of what reads the encoder's maps."""
    necks = model.get("neck") or []
    for neck in necks if isinstance(necks, (list, tuple)) else [necks]:
        many = isinstance(neck.in_channels, (list, tuple))
        neck.in_channels = list(channels) if many else channels[-1]
    if "decode_head" in model:
        head = model.decode_head
        head.in_channels = list(channels)
        if plain:
            head.channels = channels[-1]
        model.auxiliary_head.in_channels = channels[model.auxiliary_head.in_index]
    strides = [first * 2**level for level in range(4)]
    if "roi_head" in model and first != 4:
        model.rpn_head.anchor_generator.strides = [*strides, 2 * strides[-1]]
        for name in ("bbox_roi_extractor", "mask_roi_extractor"):
            model.roi_head[name].featmap_strides = strides


def _fit_normalisation(preprocessor: Any, described: Description) -> None:
    if described.normalisation is not None:
        mean, std = described.normalisation
        preprocessor.mean = [round(255 * value, 4) for value in mean]
        preprocessor.std = [round(255 * value, 4) for value in std]


def _resized(node: Any, factor: float) -> Any:
    """The sizes in a pipeline, in proportion."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("scale", "scales", "crop_size"):
                node[key] = _scaled(value, factor)
            else:
                _resized(value, factor)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _resized(value, factor)
    return node


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_scaled(item, factor) for item in value)
    return max(round(value * factor), 1)


def _set_size(config: Config, task: Task, side: int) -> None:
    """Images of another size, everywhere in a config."""
    factor = side / task.side
    encoder = config.model.backbone.encoder
    if encoder.type.rpartition(".")[2] in SIZED:
        patch = encoder.get("patch_size", 16)
        size = encoder.get("image_size", side)
        size = size if isinstance(size, (list, tuple)) else (size, size)
        encoder.image_size = tuple(max(round(s * factor / patch), 1) * patch for s in size)
    for part in ("train", "val", "test"):
        _resized(config[f"{part}_dataloader"].dataset.get("pipeline"), factor)
    if "size" in config.model.data_preprocessor:
        config.model.data_preprocessor.size = (side, side)
    crops = config.model.get("test_cfg", {})
    if "crop_size" in crops:
        crops.crop_size, crops.stride = (side, side), (side * 2 // 3,) * 2


def _set_data(config: Config, data: DenseData) -> None:
    """The two splits, and the classes of data set and heads."""
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
    _set_classes(config.model, len(data.classes))


def _set_classes(node: Any, number: int) -> None:
    if isinstance(node, dict):
        if isinstance(node.get("num_classes"), int):
            node["num_classes"] = number
        for value in node.values():
            _set_classes(value, number)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _set_classes(value, number)


def choose(
    task: Task, data: DenseData, machine: Machine, stated: Mapping[str, int | None]
) -> dict[str, Choice]:
    """Image size, batch and passes over the data, each with its reason.

    Args:
        task: of the published training.
        data: that were found.
        machine: that trains.
        stated: by the user, under ``image size``, ``batch`` and ``epochs``.

    Raises:
        UserError: a stated value that is impossible.
    """
    for name, value in stated.items():
        if value is not None and value < 1:
            raise UserError(f"--{name.replace(' ', '-')} {value} must be 1 or more.")
    cpu, number = machine.device == "cpu", data.train.number
    side = min(task.on_cpu, min(data.largest)) if cpu else task.side
    size = Choice("image size", max(side, 32), "what a CPU does in seconds" if cpu
                  else "as published")  # fmt: skip
    if stated["image size"] is not None:
        size = Choice("image size", stated["image size"], STATED)
    room = machine.memory / 2**30 / (task.memory * (int(size.value) / task.side) ** 2)
    most = power_of_two(min(2 if cpu else max(0.7 * room, 1), task.batch, number))
    why = f"{machine.memory / 2**30:.0f} GiB of memory; {task.batch} are published"
    batch = Choice("batch", most, "what a CPU does in seconds" if cpu else why)
    if stated["batch"] is not None:
        if stated["batch"] > number:
            raise UserError(f"--batch-size {stated['batch']} is more than the {number} images.")
        batch = Choice("batch", stated["batch"], STATED)
    wanted = task.passes * math.sqrt(max(task.images / number, 1))
    wanted = min(wanted, MOST_PASSES, 8 * task.passes)
    words = f"{task.passes:g} are published for {task.images:,} images; here are {number}"
    if cpu:
        wanted = min(wanted, max(CPU_IMAGES * machine.cores / number, 1))
        words = f"{round(wanted) * number} images in all on a CPU"
    epochs = Choice("epochs", max(round(wanted), 1), words)
    if stated["epochs"] is not None:
        epochs = Choice("epochs", stated["epochs"], STATED)
    return {choice.name: choice for choice in (size, batch, epochs)}


def _set_schedule(config: Config, chosen: Mapping[str, Choice], number: int, cpu: bool) -> None:
    """Passes, warm-up and steps of the rate, in the recipe's proportions."""
    batch, epochs = int(chosen["batch"].value), int(chosen["epochs"].value)
    steps = max(number // batch, 1)
    total = steps * epochs
    config.train_dataloader.batch_size = batch
    for part in ("train", "val", "test"):
        workers = 0 if number <= 32 else 1 if cpu else 4
        config[f"{part}_dataloader"].update(num_workers=workers, persistent_workers=workers > 0)
    logger, keep = config.default_hooks.logger, config.default_hooks.checkpoint
    logger.interval = max(min(total // 50, 50), 1)
    keep.max_keep_ckpts = 2
    by_epoch = "max_epochs" in config.train_cfg
    if by_epoch:
        old = config.train_cfg.max_epochs
        config.train_cfg.update(max_epochs=epochs, val_interval=max(epochs // 4, 1))
        keep.interval = config.train_cfg.val_interval
    else:
        old = config.train_cfg.max_iters
        config.train_cfg.update(max_iters=total, val_interval=max(total // 4, 1))
        keep.interval = config.train_cfg.val_interval
    warm_up = 0
    for scheduler in config.param_scheduler:
        if scheduler.type == "LinearLR":
            warm_up = scheduler.end = min(scheduler.end, max(total // 10, 1))
            continue
        if "milestones" in scheduler:
            moved = sorted({max(round(m * epochs / old), 1) for m in scheduler.milestones})
            scheduler.milestones = [m for m in moved if m < epochs]
            scheduler.end = epochs
        else:
            scheduler.begin, scheduler.end = warm_up, total
    # a training without room for a warm-up, or for steps of the rate
    config.param_scheduler = [
        scheduler
        for scheduler in config.param_scheduler
        if scheduler.get("milestones") != [] and (total > 2 or scheduler.type == "LinearLR")
    ]
    if cpu:
        wrapper = config.optim_wrapper
        for key in ("loss_scale", "dtype"):
            wrapper.pop(key, None)
        wrapper.type = "OptimWrapper"
        # activations of small images need no second forward
        config.model.backbone.encoder.pop("gradient_checkpointing", None)
    config.auto_scale_lr = dict(config.get("auto_scale_lr") or {}, enable=True)


def prepare(
    task: str,
    data: str | Path,
    checkpoint: str | Path,
    out: str | Path = OUT,
    epochs: int | None = None,
    batch_size: int | None = None,
    image_size: int | None = None,
    machine: Machine | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Look at checkpoint, data and machine, and write the config; see :func:`transfer`.

    Returns:
        Path of the config.
    """
    if task not in TASKS:
        raise UserError(f"There is no transfer to {task}: use one of {', '.join(TASKS)}.")
    require(f"transfer {task}", "transfer", "mmcv", "mmdet" if task == "mask-rcnn" else "mmseg")
    out = Path(out)
    if any(out.glob("*.pth")):
        raise UserError(
            f"{out.absolute()} holds the checkpoints of another run: choose another folder with "
            f"--out, or remove it."
        )
    weights = check_weights_file(checkpoint, "--from")
    kind, machine = TASKS[task], machine or find_machine()
    with building():
        described = describe_file(weights)
        found = kind.find(data, out)
        config, recipe = dense_config(task, described)
        stated = {"image size": image_size, "batch": batch_size, "epochs": epochs}
        chosen = choose(kind, found, machine, stated)
    _set_size(config, kind, int(chosen["image size"].value))
    _set_data(config, found)
    _set_schedule(config, chosen, found.train.number, machine.device == "cpu")
    config.work_dir = str(out.absolute())
    config.pretrained = str(weights.absolute())
    config.setdefault("randomness", dict(seed=0))
    names = ", ".join(found.classes[:8]) + (" ..." if len(found.classes) > 8 else "")
    say(f"Data\n  {found.train.number} images to train on, {found.val.number} to validate on\n"
        f"  {len(found.classes)} classes: {names}")  # fmt: skip
    for note in (*found.notes, *described.notes):
        say(f"  {note}")
    say(f"Machine\n  {machine.line()}\nSettings of {task}, from {recipe}")
    for choice in chosen.values():
        say(f"  {choice.line()}")
    header = [
        f"mmvitssl transfer {task}, version {mmvitssl.__version__}: {recipe} made to fit {weights}",
        f"and the images of {Path(data).absolute()}.",
        f"Train the same again: mmvitssl train {out}/config.py --work-dir ANOTHER_FOLDER",
    ]
    target = out / "config.py"
    write_config(target, config_text(config, list(chosen.values()), header))
    return target


def transfer(
    task: str,
    data: str | Path,
    checkpoint: str | Path,
    out: str | Path = OUT,
    epochs: int | None = None,
    batch_size: int | None = None,
    image_size: int | None = None,
    say: Callable[[str], None] = print,
) -> Transferred:
    """Train a detector or segmentor on a pretrained encoder.

    The checkpoint says how its encoder is built, the data say which classes there are; what is not
    stated is chosen, and said with its reason.

    Args:
        task: 'mask-rcnn' (instances in COCO's form) or 'upernet' (masks of labels).
        data: folder of labelled images; see :func:`~mmvitssl.apis.dense_data.find_coco` and
            :func:`~mmvitssl.apis.dense_data.find_masks`.
        checkpoint: of this package, or an official one: a path, a name or an address.
        out: folder for config, log and checkpoints.
        epochs: passes over the images.
        batch_size: images per device and step.
        image_size: shorter side of the images (Mask R-CNN), or side of the crops, in pixels.
        say: takes the lines that say what was found and chosen.

    Raises:
        MissingExtraError: mmcv, mmdet or mmseg is not installed.
        UserError: something of it is impossible, in words.
        FileNotFoundError: there is no data, or no checkpoint.
        CheckpointError: nothing tells how the encoder is built.
    """
    config = prepare(task, data, checkpoint, out, epochs, batch_size, image_size, say=say)
    say(f"Config\n  {config}")
    return train_config(config, say)


def train_config(config: Path, say: Callable[[str], None]) -> Transferred:
    """Train a written config, and report the metrics of its last validation."""
    text = config.read_text(encoding="utf-8")
    os.environ.setdefault("LOCAL_RANK", "0")
    training.train(training.parser(None).parse_args([str(config)]))
    write_config(config, text)  # MMEngine wrote its own text of it in this place
    out, metrics = config.parent, last_metrics(config.parent)
    say(f"\nCheckpoint\n  {out / 'last.pth'}\nMetrics")
    for name, value in metrics.items():
        say(f"  {name:<24} {value:.4g}")
    words = ("mmvitssl", "test", config, out / "last.pth", "--out", out / "metrics.json")
    say("Go on with\n  " + " ".join(shlex.quote(str(word)) for word in words))
    return Transferred(out / "last.pth", config, metrics)


TIMES = ("time", "data_time", "step")


def last_metrics(work_dir: Path) -> dict[str, float]:
    """Metrics of the last validation that a run logged; empty: there was none."""
    files = sorted(work_dir.glob("*/vis_data/scalars.json"))
    lines = [json.loads(line) for line in files[-1].read_text().splitlines()] if files else []
    found = [line for line in lines if "loss" not in line]
    return {k: v for k, v in found[-1].items() if k not in TIMES} if found else {}
