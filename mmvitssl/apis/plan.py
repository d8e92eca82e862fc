"""Settings of a pretraining, chosen from the number of images and the machine, with reasons."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mmengine.config import Config

from mmvitssl.apis.machine import Machine
from mmvitssl.apis.recipes import view_sizes
from mmvitssl.models.backbones.architectures import architecture

SMALLEST, USUAL, ON_CPU = 112, 224, 112  # pixels
IMAGENET = 1_280_000
MOST_EPOCHS = 2000
# on a CPU: images per core, the least and the most epochs
CPU_IMAGES, CPU_LEAST, CPU_MOST = 2500, 10, 100
CPU_BATCH = 32
IMAGES_PER_GPU = 64  # fewer are not worth another GPU
# bytes per token, channel and block that a training step keeps in bfloat16 (Korthikanti et al.,
# 2022, section 4.1, with attention that does not keep its matrix), and the part of a GPU to fill
STORED, FILLED = 34, 0.6
WORKERS_PER_GPU = 16
BYTES_PER_WORKER = 32 * 2**20


@dataclass(frozen=True)
class Choice:
    """A setting that was chosen.

    Attributes:
        name: of the setting.
        value: of it.
        reason: why, in words.
    """

    name: str
    value: int | float | str
    reason: str

    def line(self) -> str:
        """One line, for people."""
        value = f"{self.value:.3g}" if isinstance(self.value, float) else str(self.value)
        return f"{self.name:<14} {value:<8} {self.reason}"


@dataclass(frozen=True)
class Plan:
    """Settings that are chosen for a pretraining.

    Attributes:
        image_size: side in pixels.
        batch_size: images per device and step.
        epochs, warm_up: passes over the images, and how many of them the learning rate rises.
        learning_rate: at its highest.
        workers: processes per device that read images; 0: the training process reads.
        bf16: whether to compute in bfloat16.
        devices: processes that train together.
        choices: the same with reasons.
    """

    image_size: int
    batch_size: int
    epochs: int
    warm_up: int
    learning_rate: float
    workers: int
    bf16: bool
    devices: int
    choices: tuple[Choice, ...]


STATED = "as you said"


def power_of_two(number: float) -> int:
    """The greatest power of two that is not above ``number``, at least 1."""
    return 2 ** int(math.log2(max(number, 1)))


def choose_image_size(stated: int | None, shorter_side: int, machine: Machine) -> Choice:
    """224 pixels as published; less for small images and on CPUs."""
    name = "image size"
    if stated is not None:
        return Choice(name, stated, STATED)
    if shorter_side < 160:
        fitting = min(max(-(-shorter_side // 16) * 16, SMALLEST), USUAL)
        reason = f"half of the images have a side of {shorter_side} pixels or fewer"
        return Choice(name, fitting, reason)
    if machine.device == "cpu":
        return Choice(name, ON_CPU, f"a CPU needs a quarter of the time that {USUAL} take")
    return Choice(name, USUAL, "as published")


def bytes_per_image(config: Config) -> int:
    """What a training step keeps of one image, in bfloat16: the online encoder's activations."""
    encoder = config.model.encoder
    if encoder.type != "ViT":
        depth, width = 12, 384  # Swin-T costs about as much as ViT-S
    else:
        sizes = architecture(encoder.get("arch", "base"))
        depth, width = sizes["depth"], sizes["embed_dim"]
    patch = encoder.get("patch_size", 16)
    tokens = sum((height // patch) * (row // patch) + 1 for height, row in view_sizes(config))
    return STORED * tokens * depth * width


def choose_batch(
    stated: int | None, images: int, per_image: int, machine: Machine, bf16: bool, total: int
) -> Choice:
    """The largest power of two that memory, data and recipe allow.

    Args:
        stated: by the user.
        images: in the data set.
        per_image: bytes that an image takes, in bfloat16.
        machine: that trains.
        bf16: whether it computes in bfloat16.
        total: of all devices in the published recipe.

    Raises:
        ValueError: a stated batch of fewer than two images, or of more than there are.
    """
    name, share = "batch", images // machine.devices
    if stated is not None:
        if not 2 <= stated <= share:
            raise ValueError(
                f"--batch-size {stated} must lie between 2 and the {images} images per device "
                f"({machine.devices} device(s)): an epoch is one full batch at least."
            )
        return Choice(name, stated, STATED)
    memory = machine.memory * FILLED / (per_image if bf16 else 2 * per_image)
    if machine.device == "cpu":
        memory = min(memory, CPU_BATCH)
    # an epoch has four steps or more, unless a batch would be tiny
    data = min(max(share / 4, 8), share)
    limits = {
        f"{images} images, at least four steps per epoch" if share >= 32
        else f"there are {images} images": data,
        "what a CPU does in seconds" if machine.device == "cpu" and memory == CPU_BATCH
        else f"{machine.memory / 2**30:.0f} GiB of memory": memory,
        f"{total} in all, as published": total / machine.devices,
    }  # fmt: skip
    reason = min(limits, key=lambda key: limits[key])
    return Choice(name, max(power_of_two(limits[reason]), 2), reason)


def choose_epochs(stated: int | None, images: int, published: int, machine: Machine) -> Choice:
    """More passes over fewer images; on a CPU, what it can do in an hour or so."""
    name = "epochs"
    if stated is not None:
        return Choice(name, stated, STATED)
    wanted = round(published * math.sqrt(IMAGENET / images))
    wanted = min(max(wanted, published), max(MOST_EPOCHS, published))
    if wanted < 1.25 * published:
        wanted = published
    if machine.device == "cuda":
        if wanted == published:
            return Choice(name, published, "as published")
        return Choice(name, wanted, f"{published} are published for 1.28 million images; here are "
                      f"{images}, and fewer images want more passes")  # fmt: skip
    budget = CPU_IMAGES * machine.cores // images
    possible = min(max(budget, CPU_LEAST), CPU_MOST, wanted)
    slow = " (days on a CPU: --epochs, or a GPU)" if possible > 4 * max(budget, 1) else ""
    return Choice(
        name, possible,
        f"{possible * images:,} images in all on a CPU; a GPU would take {wanted} epochs{slow}",
    )  # fmt: skip


def choose_warm_up(epochs: int, published: int, length: int, steps: int) -> Choice:
    """The recipe's part of the training, at most as many epochs, and two steps at least.

    Args:
        epochs: of the training.
        published: epochs of the recipe's warm-up.
        length: epochs of the recipe.
        steps: per epoch.
    """
    warm_up = min(published, max(round(epochs * published / length), 1))
    if warm_up * steps < 2:  # a rise of one step has no slope
        warm_up = min(published, -(-2 // steps))
    if 2 * warm_up >= epochs:
        return Choice("warm-up", 0, "the training is too short for any")
    reason = "as published" if warm_up == published else f"{published} of {length} are published"
    return Choice("warm-up", warm_up, reason)


def choose_rate(rate: float, published: int, real: int, optimizer: str) -> Choice:
    """Scale a published learning rate to another batch.

    The rate of Adam goes with the square root of the batch (Malladi et al., 2022), that of
    gradient descent with the batch itself (Goyal et al., 2017).
    """
    adam = "Adam" in optimizer
    factor = real / published
    reason = f"{rate:.3g} is published for {published} images per step; here are {real}"
    return Choice("learning rate", rate * (math.sqrt(factor) if adam else factor), reason)


def choose_devices(images: int, machine: Machine) -> Choice:
    """GPUs that train together: no more than the images keep busy."""
    number = min(machine.devices, max(images // IMAGES_PER_GPU, 1))
    if machine.devices == 1:
        return Choice("devices", 1, "the CPU" if machine.device == "cpu" else machine.name)
    if number == machine.devices:
        return Choice("devices", number, f"all of this machine, {machine.name}")
    return Choice("devices", number, f"of {machine.devices}: {images} images keep no more busy")


def choose_workers(batch: int, images: int, machine: Machine) -> Choice:
    """Processes per device that read images, as cores and shared memory allow."""
    name = "workers"
    if images <= 32:
        return Choice(name, 0, f"{images} images need none")
    if machine.device == "cpu":
        number = max(1, machine.cores // 4)
        reason = f"one for four of the {machine.cores} cores, which train too"
    else:
        number = max(1, min(machine.cores // machine.devices - 1, WORKERS_PER_GPU))
        reason = f"{machine.cores} cores for {machine.devices} GPU(s)"
    batches = images // machine.devices // batch
    if batches < number:
        number, reason = batches, f"an epoch has {batches} batch(es)"
    room = (machine.shared_memory or 0) // BYTES_PER_WORKER
    if room < number * machine.devices:
        number = room // machine.devices
        reason = (
            f"/dev/shm has {(machine.shared_memory or 0) >> 20} MiB only (docker run --shm-size=8g)"
        )
    return Choice(name, number, reason)


def choose_precision(machine: Machine) -> Choice:
    """bfloat16 where the device computes in it."""
    if machine.bf16:
        return Choice("precision", "bf16", machine.bf16)
    device = "GPU" if machine.device == "cuda" else "CPU"
    return Choice("precision", "fp32", f"this {device} does not compute in bfloat16")


def make_plan(
    config: Config,
    images: int,
    image_size: Choice,
    machine: Machine,
    epochs: int | None = None,
    batch_size: int | None = None,
) -> Plan:
    """Choose everything for a recipe.

    Args:
        config: of the recipe, at its arch and image size.
        images: that can be read.
        image_size: chosen before.
        machine: that trains.
        epochs, batch_size: stated by the user.

    Raises:
        ValueError: too few images, or a stated value that is impossible.
    """
    if images < 2:
        raise ValueError(f"{images} image(s) are too few: pretraining needs two or more.")
    if epochs is not None and epochs < 1:
        raise ValueError(f"--epochs {epochs} must be 1 or more.")
    devices = choose_devices(images, machine)
    machine = replace(machine, devices=int(devices.value))
    published = config.auto_scale_lr.base_batch_size
    length = config.train_cfg.max_epochs
    precision = choose_precision(machine)
    batch = choose_batch(
        batch_size, images, bytes_per_image(config), machine, precision.value == "bf16", published
    )
    size = int(batch.value)
    passes = choose_epochs(epochs, images, length, machine)
    steps = images // (size * machine.devices)
    warm_up = choose_warm_up(int(passes.value), published_warm_up(config), length, steps)
    optimizer = config.optim_wrapper.optimizer
    rate = choose_rate(optimizer.lr, published, size * machine.devices, optimizer.type)
    workers = choose_workers(size, images, machine)
    return Plan(
        int(image_size.value), size, int(passes.value), int(warm_up.value), float(rate.value),
        int(workers.value), precision.value == "bf16", int(devices.value),
        (image_size, devices, batch, passes, warm_up, rate, precision, workers),
    )  # fmt: skip


def published_warm_up(config: Config) -> int:
    """Epochs in which a recipe's learning rate rises."""
    linear = [s for s in config.param_scheduler if str(s.type).endswith("LinearLR")]
    return int(linear[0].end) if linear else 0
