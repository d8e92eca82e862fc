"""Commands to go on with after a pretraining, which work as they are printed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# task: (name, layout of its data, where they might be)
TRANSFER = {
    "mask-rcnn": ("Mask R-CNN", "COCO's form", "data/coco"),
    "upernet": ("UperNet", "images and masks", "data/ade"),
}


@dataclass(frozen=True)
class Command:
    """A command and what it does.

    Attributes:
        purpose: in words.
        text: for a shell.
        needs: what it needs besides this run; empty: nothing.
    """

    purpose: str
    text: str
    needs: str = ""


def _command(*parts: str | Path) -> str:
    return " ".join(shlex.quote(str(part)) for part in ("mmvitssl", *parts))


def next_steps(
    images: Path, out: Path, checkpoint: Path, classes: Sequence[str]
) -> list[Command]:
    """Commands for the checkpoint of a pretraining.

    Args:
        images: that it was trained on.
        out: its folder.
        checkpoint: its last one.
        classes: names of the class folders of the images; empty: they have no labels.
    """
    steps = [
        Command(
            "one vector per image",
            _command("embed", images, "--from", checkpoint, "--out", out / "embeddings.npz"),
        ),
        Command(
            "the encoder for timm",
            _command("checkpoint", "export", checkpoint, out / "encoder.safetensors",
                     "--format", "timm", "--encoder-only"),
        ),
        Command(
            "train the same again",
            _command("train", out / "config.py", "--work-dir", out / "again"),
        ),
    ]  # fmt: skip
    labelled, needs = (images, "") if classes else (Path("data/labelled"), "one folder per class")
    steps.insert(0, Command(
        "nearest neighbours", _command("knn", labelled, "--from", checkpoint), needs
    ))  # fmt: skip
    if classes:
        steps.insert(1, Command("linear probe", _command(
            "probe", images, "--from", checkpoint, "--out", out / "probe")))  # fmt: skip
    return steps + [
        Command(name, _command("transfer", task, data, "--from", checkpoint,
                               "--out", out / task), f"mmvitssl[transfer], and {form}")
        for task, (name, form, data) in TRANSFER.items()
    ]  # fmt: skip
