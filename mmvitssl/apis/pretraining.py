"""One call from a folder of images to a checkpoint."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

import mmvitssl
from mmvitssl.apis.embedding import load
from mmvitssl.apis.health import Health, judge, logged_losses
from mmvitssl.apis.machine import Machine, find_machine
from mmvitssl.apis.next_steps import Command, next_steps
from mmvitssl.apis.plan import Plan, choose_image_size, make_plan
from mmvitssl.apis.recipes import CONFIGS, known_method, load_recipe
from mmvitssl.apis.sources import ImageSource, class_folders, dataset_config, look
from mmvitssl.apis.written_configs import config_text, fit, new_folder
from mmvitssl.checkpoint import CheckpointError, check_weights_file
from mmvitssl.checkpoint.download import find_published
from mmvitssl.engine import training
from mmvitssl.engine.launch import UserError, building
from mmvitssl.writing import write_text

OUT = "work_dirs/pretrain"
NO_TOKENIZER = "Methods that need none: --method mae, simmim, lomar or cae:rgb."
LOOKED_AT = 64  # images whose features are looked at in the end


@dataclass(frozen=True)
class Prepared:
    """A pretraining that can start.

    Attributes:
        source: its images.
        plan: what was chosen.
        config: path of the config file.
        out: its folder.
    """

    source: ImageSource
    plan: Plan
    config: Path
    out: Path


@dataclass(frozen=True)
class Pretrained:
    """A finished pretraining.

    Attributes:
        checkpoint: path of the last one.
        config: path of the config, which trains the same again.
        health: whether the run looks sound.
        commands: to go on with.
    """

    checkpoint: Path
    config: Path
    health: Health
    commands: tuple[Command, ...]


def prepare(
    images: str | Path,
    method: str = "repre",
    arch: str = "vit-small",
    image_size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    out: str | Path = OUT,
    init: str | Path | None = None,
    machine: Machine | None = None,
    say: Callable[[str], None] = print,
) -> Prepared:
    """Look at images and machine, choose the settings and write the config; see :func:`pretrain`.

    Args:
        machine: that trains; None: this one.
    """
    out = new_folder(out)
    weights = None if init is None else check_weights_file(init, "--init")
    with building():
        method = known_method(method)
        source = look(images)
        machine = machine or find_machine()
        size = choose_image_size(image_size, source.shorter_side, machine)
        recipe, path = load_recipe(method, arch, int(size.value))
        number = len(source.good)
        plan = make_plan(recipe, number, size, machine, epochs, batch_size)
    say("Images")
    for line in source.lines():
        say(f"  {line}")
    say(f"Machine\n  {machine.line()}")
    say(f"Settings of {method} on {arch}, from {path.name}")
    for choice in plan.choices:
        say(f"  {choice.line()}")
    pipeline = recipe.train_dataloader.dataset.pipeline
    dataset = dataset_config(source, out, [step.to_dict() for step in pipeline])
    fit(recipe, plan, dataset, number)
    recipe.work_dir = str(out.absolute())
    if weights is not None:
        named = find_published(str(init)) is not None and not Path(str(init)).exists()
        recipe.init = str(init) if named else str(weights.absolute())
    header = [
        f"mmvitssl pretrain, version {mmvitssl.__version__}: {method} on {arch}, {path.name} made "
        f"to fit",
        f"{number} images of {source.path.absolute()} and {machine.line()}.",
        f"Train the same again: mmvitssl train {out}/config.py --work-dir ANOTHER_FOLDER",
        f"Recipe: {path.relative_to(CONFIGS)}",
    ]
    target = out / "config.py"
    write_text(target, config_text(recipe, plan.choices, header))
    return Prepared(source, plan, target, out)


def train(prepared: Prepared) -> None:
    """Train in this process, or in one process per device."""
    options = [str(prepared.config)]
    if prepared.plan.devices == 1:
        os.environ.setdefault("LOCAL_RANK", "0")
        try:
            training.train(training.parser(None).parse_args(options))
        except CheckpointError as error:
            if "no tokenizer" in str(error):
                raise CheckpointError(f"{error} {NO_TOKENIZER}") from error
            raise
    else:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                    f"--nproc_per_node={prepared.plan.devices}"]  # fmt: skip
        program = ["-m", "mmvitssl.cli", "train", *options, "--launcher", "pytorch"]
        done = subprocess.run([*launcher, *program], check=False)
        if done.returncode:
            raise UserError(f"The training ended with status {done.returncode}; see above.")


def pretrain(
    images: str | Path,
    method: str = "repre",
    arch: str = "vit-small",
    image_size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    out: str | Path = OUT,
    init: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> Pretrained:
    """Pretrain an encoder on images without labels.

    What is not stated is chosen from the images and the machine, and printed with its reason.

    Args:
        images: a folder (nested or not; frames of videos too), a zip or tar file, or a text file
            with a path per line.
        method: such as 'repre', 'mae', 'dino'; see :func:`~mmvitssl.apis.list_models`.
        arch: 'vit-tiny', 'vit-small', 'vit-base', 'vit-large', 'vit-huge' or 'swin-tiny'.
        image_size: side in pixels.
        epochs: passes over the images.
        batch_size: images per device and step.
        out: folder for config, log and checkpoints.
        init: checkpoint whose encoder the training starts from: a path, the name of published
            weights, or an address.
        say: takes the lines that say what was found and chosen.

    Raises:
        UserError: a setting is impossible; the message says which and why.
        FileNotFoundError, BrokenImageError: there are no images that can be read.
        CheckpointError: ``init`` does not fit.
    """
    prepared = prepare(images, method, arch, image_size, epochs, batch_size, out, init, say=say)
    say(f"Config\n  {prepared.config}")
    train(prepared)
    return finish(prepared, say)


def finish(prepared: Prepared, say: Callable[[str], None] = print) -> Pretrained:
    """Judge a finished run, and return what to do next."""
    out, source = prepared.out, prepared.source
    checkpoint = out / "last.pth"
    model = load(checkpoint)
    some = ImageSource(
        source.path, source.kind, source.good[:: max(len(source.good) // LOOKED_AT, 1)][:LOOKED_AT],
        archive=source.archive,
    )  # fmt: skip
    features = model.embed_source(some)
    config = Config.fromfile(prepared.config)
    contrastive = any(hook.type == "CollapseHook" for hook in config.get("custom_hooks") or [])
    health = judge(logged_losses(out), features.values, contrastive)
    commands = next_steps(source.path, out, checkpoint, class_folders(source))
    say(f"\nCheckpoint\n  {checkpoint}\nHealth\n  {health.sentence}\nGo on with")
    for command in commands:
        needs = f" (needs {command.needs})" if command.needs else ""
        say(f"  # {command.purpose}{needs}\n  {command.text}")
    return Pretrained(checkpoint, prepared.config, health, tuple(commands))
