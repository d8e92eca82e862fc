"""One call from a checkpoint and labelled images to the accuracy of a probe, or of fine-tuning."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from torch import nn

import mmvitssl
from mmvitssl.apis.dense_transfer import Transferred, train_config
from mmvitssl.apis.labelled import split
from mmvitssl.apis.machine import Machine, find_machine
from mmvitssl.apis.plan import STATED, Choice, choose_rate, power_of_two
from mmvitssl.apis.recipes import CONFIGS
from mmvitssl.apis.written_configs import config_text, new_folder
from mmvitssl.checkpoint.description import Description
from mmvitssl.checkpoint.locate import check_weights_file
from mmvitssl.checkpoint.onnx_model import image_size_of
from mmvitssl.checkpoint.self_described import rebuild_encoder
from mmvitssl.datasets.files import list_images
from mmvitssl.datasets.labelled import class_folders
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.launch import UserError, building, prepare_scope
from mmvitssl.models.backbones.contract import Backbone, Normed, backbone_in
from mmvitssl.writing import write_text

OUT = "work_dirs/probe"
CROP = 224 / 256
LEAST_STEP = 256  # images that gradient descent's rate is scaled to at least
SPLITS = ("val", "validation", "test")
# settings of an encoder that only pretraining needs
LEFT_OUT = ("mask_token", "unknown_position", "initialisation", "freeze_patch_embed", "drop_path")


@dataclass(frozen=True)
class Kind:
    """A way to read features with labels.

    Attributes:
        recipe: config below ``configs/probe``.
        passes: over the images, on a GPU and on a CPU.
        batch: at most, on a GPU and on a CPU.
    """

    recipe: str
    passes: tuple[int, int]
    batch: tuple[int, int]


KINDS = {
    "linear": Kind(
        "linear-cached_vit-tiny-p4_1xb256-cosine-100e_cifar10.py", (100, 100), (256, 256)
    ),
    "attentive": Kind("attentive-cae_vit-base_32xb256-cosine-90e_in1k.py", (90, 10), (256, 32)),
    "finetune": Kind("finetune-mae_vit-base_32xb32-cosine-100e_in1k.py", (100, 10), (64, 16)),
}  # fmt: skip


def _paths(root: Path, classes: list[str]) -> tuple[list[str], np.ndarray]:
    """Images of the class folders, below the root, and their labels."""
    groups = [
        [str(Path(path).relative_to(root)) for path in list_images(root / name)] for name in classes
    ]
    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return [path for group in groups for path in group], labels


def _allowed(images: int) -> int:
    """Broken images that may be replaced by their neighbours; the log names each."""
    return max(images // 1000, 1)


def _datasets(data: Path, out: Path) -> tuple[dict[str, Any], dict[str, Any], list[str], int, str]:
    """Data sets of training and validation without pipelines, classes, images, and a line."""
    if (data / "train").is_dir():
        name = next((name for name in SPLITS if (data / name).is_dir()), None)
        if name is None:
            raise FileNotFoundError(f"{data} has a folder train and none of {', '.join(SPLITS)}.")
        classes = class_folders(data / "train", (), (".jpg", ".jpeg", ".png"))
        number = len(_paths(data / "train", classes)[0])
        return (
            dict(type="LabelledFolder", root=str(data / "train"), max_broken=_allowed(number)),
            dict(type="LabelledFolder", root=str(data / name), classes=classes,
                 max_broken=_allowed(number)),
            classes, number, f"the folders train and {name}",
        )  # fmt: skip
    classes = class_folders(data, (), (".jpg", ".jpeg", ".png"))
    if len(classes) < 2:
        raise UserError(f"{data} has one class folder, {classes[0]}: a probe needs two or more.")
    paths, labels = _paths(data, classes)
    queries = split(labels)
    alone = [name for i, name in enumerate(classes) if (labels == i).sum() < 2]
    if alone:
        raise UserError(f"{', '.join(alone)} below {data} has one image: a class needs two.")
    subsets = []
    for name, chosen in (("train", ~queries), ("val", queries)):
        file = (out / f"{name}.txt").absolute()
        lines = [f"{path}\n" for path, take in zip(paths, chosen, strict=True) if take]
        write_text(file, "".join(lines))
        subsets.append(dict(
            type="LabelSubset", ann_file=str(file),
            dataset=dict(type="LabelledFolder", root=str(data), max_broken=_allowed(len(paths))),
        ))  # fmt: skip
    number = int((~queries).sum())
    return *subsets, classes, number, "every fifth image of a class is for validation"  # type: ignore[return-value]


def _with_pipeline(dataset: dict[str, Any], pipeline: list[Any]) -> dict[str, Any]:
    inner = dataset.get("dataset")
    if inner is not None:
        return {**dataset, "dataset": {**inner, "pipeline": pipeline}}
    return {**dataset, "pipeline": pipeline}


def _pipeline(view: list[dict[str, Any]], channels: int) -> list[dict[str, Any]]:
    return [
        dict(type="LoadImage", channels=channels),
        dict(type="MultiView", views=[dict(transforms=view)]),
        dict(type="PackViews"),
    ]


def prepare(
    data: str | Path,
    checkpoint: str | Path,
    kind: str = "linear",
    out: str | Path = OUT,
    epochs: int | None = None,
    batch_size: int | None = None,
    machine: Machine | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Look at checkpoint, data and machine, and write the config; see :func:`probe`."""
    if kind not in KINDS:
        raise UserError(f"There is no probe '{kind}': use one of {', '.join(KINDS)}.")
    out, root = new_folder(out), Path(data).expanduser().absolute()
    machine = machine or find_machine()
    cpu = machine.device == "cpu"
    chosen = KINDS[kind]
    weights = check_weights_file(checkpoint, "--from")
    prepare_scope(Config())
    with building():
        encoder, described = rebuild_encoder(weights, log=lambda line: None)
        train, val, classes, number, words = _datasets(root, out)
        config = read_config(str(CONFIGS / "probe" / chosen.recipe))
    most = power_of_two(min(chosen.batch[cpu], max(number // 4, 2)))
    if kind == "linear":  # features are at hand: steps cost nothing
        most = power_of_two(min(chosen.batch[cpu], number))
    optimizer, base = config.optim_wrapper.optimizer, config.auto_scale_lr.base_batch_size
    step = batch_size or most
    if "Adam" not in optimizer.type:
        step = max(step, LEAST_STEP)  # at lower rates few steps learn nothing
    rate = choose_rate(optimizer.lr, base, step, optimizer.type)
    choices = [
        Choice("batch", batch_size or most, STATED if batch_size else f"{number} images, at least "
               f"four steps per epoch" if most < chosen.batch[cpu] else "as much as is useful"),
        Choice("epochs", epochs or chosen.passes[cpu], STATED if epochs else
               "what a CPU does in minutes" if cpu and kind != "linear" else "as published"),
        rate,
    ]  # fmt: skip
    batch, passes = int(choices[0].value), int(choices[1].value)
    if not 1 <= batch <= number or passes < 1:
        raise UserError(
            f"--batch-size {batch} must lie between 1 and the {number} training images, and "
            f"--epochs {passes} must be 1 or more."
        )
    _set_model(config, described, backbone_in(encoder), kind, len(classes))
    _set_data(config, train, val, encoder, kind, batch)
    _set_schedule(config, passes)
    optimizer.lr = rate.value
    config.auto_scale_lr = dict(base_batch_size=batch, enable=False)
    config.optim_wrapper.update(precision="bf16" if machine.bf16 else "fp32")
    config.work_dir, config.pretrained = str(out.absolute()), str(weights.absolute())
    config.setdefault("randomness", dict(seed=0))
    say(f"Data\n  {number} images to train on, {len(classes)} classes; {words}")
    for note in described.notes:
        say(f"  {note}")
    say(f"Machine\n  {machine.line()}\nSettings of {kind}, from probe/{chosen.recipe}")
    for choice in choices:
        say(f"  {choice.line()}")
    header = [
        f"mmvitssl probe --kind {kind}, version {mmvitssl.__version__}: probe/{chosen.recipe} made "
        f"to fit",
        f"{weights} and the images of {root}.",
    ]
    write_text(out / "config.py", config_text(config, choices, header))
    return out / "config.py"


def _set_model(
    config: Config, described: Description, encoder: Backbone, kind: str, classes: int
) -> None:
    """The encoder of the checkpoint, and a head of as many classes as there are folders."""
    kept = {key: value for key, value in described.encoder.items() if key not in LEFT_OUT}
    model, spec = config.model, encoder.spec
    if kind == "finetune":
        if "drop_path" in inspect.signature(type(encoder)).parameters:
            kept["drop_path"] = 0.1
        if kept.get("relative_position") == "shared_bias":
            kept["relative_position"] = "block_bias"
        if not isinstance(encoder, Normed):
            model.pooled_norm = None
    model.encoder = kept
    if described.normalisation is not None:
        mean, std = described.normalisation
        model.data_preprocessor = dict(type="ViewPreprocessor", mean=list(mean), std=list(std))
    model.head.num_classes = classes
    if kind == "attentive":
        if not (spec.has_patch_tokens and spec.num_heads):
            raise UserError("An attentive probe reads tokens of a ViT: use --kind linear.")
        model.head.num_heads = spec.num_heads[-1]
    if not spec.has_patch_tokens:
        model.readout = "mean" if kind == "finetune" else "cls"


def _set_data(
    config: Config,
    train: dict[str, Any],
    val: dict[str, Any],
    encoder: nn.Module,
    kind: str,
    batch: int,
) -> None:
    """Data sets, with views of the size that the encoder was pretrained on."""
    size = image_size_of(encoder)
    middle: list[dict[str, Any]] = [
        dict(type="Resize", size=round(min(size) / CROP), interpolation="bicubic"),
        dict(type="CenterCrop", size=size),
    ]
    crop: list[dict[str, Any]] = [
        dict(type="RandomResizedCrop", size=size, interpolation="bicubic"),
        dict(type="RandomFlip"),
    ]
    views = {"train": middle if kind == "linear" else crop, "val": middle, "test": middle}
    channels = backbone_in(encoder).spec.in_channels
    for part, view in views.items():
        dataset = _with_pipeline(train if part == "train" else val, _pipeline(view, channels))
        if kind == "linear":
            dataset = dict(type="CachedFeatures", dataset=dataset)
        loader = config[f"{part}_dataloader"]
        loader.dataset = dataset
        loader.update(batch_size=batch, num_workers=0, persistent_workers=False)


def _set_schedule(config: Config, passes: int) -> None:
    """As many passes, with a warm-up in the recipe's proportion."""
    old = config.train_cfg.max_epochs
    config.train_cfg.update(max_epochs=passes, val_interval=max(passes // 5, 1))
    warm_up = 0
    schedulers = []
    for scheduler in config.param_scheduler:
        if scheduler.type == "LinearLR":
            warm_up = round(scheduler.end * passes / old)
            scheduler.end = warm_up
            schedulers += [scheduler] if warm_up else []
        else:
            scheduler.begin = warm_up
            scheduler.pop("end", None)
            scheduler.pop("T_max", None)
            schedulers += [{**scheduler, "end": passes}] if passes > warm_up + 1 else []
    config.param_scheduler = schedulers
    config.default_hooks.logger.interval = 10
    config.default_hooks.checkpoint.update(interval=passes, max_keep_ckpts=1)


def probe(
    data: str | Path,
    checkpoint: str | Path,
    kind: str = "linear",
    out: str | Path = OUT,
    epochs: int | None = None,
    batch_size: int | None = None,
    say: Callable[[str], None] = print,
) -> Transferred:
    """Train a head on the features of a checkpoint, and report its accuracy.

    Args:
        data: folder with one sub-folder per class (every fifth image validates), or with ``train``
            and ``val`` that have them.
        checkpoint: of this package, or an official one: a path, a name or an address.
        kind: 'linear' (on features that are computed once), 'attentive' or 'finetune'.
        out: folder for config, log and checkpoints.
        epochs: passes over the images.
        batch_size: images per step.
        say: takes the lines that say what was found and chosen.

    Raises:
        UserError: a setting is impossible; the message says which and why.
        FileNotFoundError: there is no data, or no checkpoint.
        CheckpointError: nothing describes the encoder.
    """
    config = prepare(data, checkpoint, kind, out, epochs, batch_size, say=say)
    say(f"Config\n  {config}")
    return train_config(config, say)
