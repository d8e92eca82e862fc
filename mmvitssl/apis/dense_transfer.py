"""One call from a checkpoint and labelled images to a detector or segmentor."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import mmvitssl
from mmvitssl.apis.dense_config import TASKS, Task, dense_config, set_data, set_schedule, set_size
from mmvitssl.apis.dense_data import DenseData
from mmvitssl.apis.machine import Machine, find_machine
from mmvitssl.apis.plan import STATED, Choice, power_of_two
from mmvitssl.apis.written_configs import config_text, new_folder
from mmvitssl.checkpoint.locate import check_weights_file
from mmvitssl.checkpoint.self_described import describe_file
from mmvitssl.engine import training
from mmvitssl.engine.launch import UserError, building
from mmvitssl.extras import require
from mmvitssl.visualization.curves import read_lines
from mmvitssl.writing import write_text

OUT = "work_dirs/transfer"
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


def choose(
    task: Task, data: DenseData, machine: Machine, stated: Mapping[str, int | None]
) -> dict[str, Choice]:
    """Choose image size, batch and passes over the data, each with its reason.

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
    require(f"transfer {task}", "transfer", "mmcv", "mmseg" if task == "upernet" else "mmdet")
    out = new_folder(out)
    weights = check_weights_file(checkpoint, "--from")
    kind, machine = TASKS[task], machine or find_machine()
    with building():
        described = describe_file(weights)
        found = kind.find(data, out)
        config, recipe = dense_config(task, described)
        stated = {"image size": image_size, "batch": batch_size, "epochs": epochs}
        chosen = choose(kind, found, machine, stated)
    set_size(config, kind, int(chosen["image size"].value))
    set_data(config, found)
    set_schedule(config, chosen, found.train.number, machine.device == "cpu")
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
    write_text(target, config_text(config, list(chosen.values()), header))
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

    The encoder is built as the checkpoint describes it, and the classes are those of the data. What
    is not stated is chosen, and printed with its reason.

    Args:
        task: 'mask-rcnn' or 'cascade-mask-rcnn' (instances in COCO's form), or 'upernet' (masks
            of labels).
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
        UserError: a setting is impossible; the message says which and why.
        FileNotFoundError: there is no data, or no checkpoint.
        CheckpointError: nothing describes the encoder.
    """
    config = prepare(task, data, checkpoint, out, epochs, batch_size, image_size, say=say)
    say(f"Config\n  {config}")
    return train_config(config, say)


def train_config(config: Path, say: Callable[[str], None]) -> Transferred:
    """Train a written config, and report the metrics of its last validation."""
    os.environ.setdefault("LOCAL_RANK", "0")
    training.train(training.parser(None).parse_args([str(config)]))
    out, metrics = config.parent, last_metrics(config.parent)
    say(f"\nCheckpoint\n  {out / 'last.pth'}\nMetrics")
    for name, value in metrics.items():
        say(f"  {name:<24} {value:.4g}")
    words = ("mmvitssl", "test", config, out / "last.pth", "--out", out / "metrics.json")
    say("Go on with\n  " + " ".join(shlex.quote(str(word)) for word in words))
    return Transferred(out / "last.pth", config, metrics)


TIMES = ("time", "data_time", "step")


def last_metrics(work_dir: Path) -> dict[str, float]:
    """Return the metrics of the last validation that a run logged; empty: there was none."""
    files = sorted(work_dir.glob("*/vis_data/scalars.json"))
    lines = read_lines(files[-1]) if files else []
    found = [line for line in lines if "loss" not in line]
    return {k: v for k, v in found[-1].items() if k not in TIMES} if found else {}
