"""Commands to go on with after a pretraining, which work as they are printed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmvitssl.apis.recipes import CONFIGS
from mmvitssl.models.backbones.architectures import architecture

TRANSFER = {
    "Mask R-CNN": ("coco/mask-rcnn", "COCO's layout", "data/coco"),
    "UperNet": ("ade20k/upernet", "ADE20K's layout", "data/ade"),
}
# widths of what reads a ViT-Ti in the configs of ViT-S
WIDTH = 192
LEVELS = f"[{','.join([str(WIDTH)] * 4)}]"
TINY = {
    "Mask R-CNN": [f"model.neck.0.in_channels={WIDTH}", f"model.neck.1.in_channels={LEVELS}"],
    "UperNet": [
        f"model.neck.in_channels={WIDTH}",
        f"model.decode_head.in_channels={LEVELS}",
        f"model.auxiliary_head.in_channels={WIDTH}",
    ],
}
STANDARD = {"qkv_bias": "qkv", "patch_size": 16}


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
    images: Path, out: Path, checkpoint: Path, classes: Sequence[str], config: Config
) -> list[Command]:
    """Commands for the checkpoint of a pretraining.

    Args:
        images: that it was trained on.
        out: its folder.
        checkpoint: its last one.
        classes: names of the class folders of the images; empty: they have no labels.
        config: of the pretraining.
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
    return steps + _transfer(checkpoint, config)


def _transfer(checkpoint: Path, config: Config) -> list[Command]:
    """Mask R-CNN and UperNet, where there are configs for the encoder."""
    encoder: Any = config.model.encoder
    commands = []
    for name, (beginning, layout, root) in TRANSFER.items():
        arch, options = "swin-tiny", []
        if encoder.type == "ViT":
            base = _base(encoder)
            arch = f"vit-{'small' if base == 'tiny' else base}"
            options = _encoder_options(encoder)
            if base == "tiny":
                options += TINY[name]
        found = sorted(
            (CONFIGS / "transfer").glob(f"{beginning}_{arch}_*.py"), key=lambda path: len(path.name)
        )
        if not found:
            continue
        recipe = str(found[0].relative_to(CONFIGS))
        options.append(f"data_root={root}")
        text = _command("train", recipe, "--pretrained", checkpoint, "--cfg-options", *options)
        commands.append(Command(name, text, f"mmvitssl[transfer], and data in {layout}"))
    return commands


def _base(encoder: Any) -> str:
    """Name of a ViT's architecture."""
    arch = encoder.get("arch", "base")
    return str(arch if isinstance(arch, str) else arch.get("base", "base"))


def _encoder_options(encoder: Any) -> list[str]:
    """How the encoder of a transfer config differs from the pretrained one (docs/transfer.md)."""
    values: dict[str, Any] = {}
    base, heads = _base(encoder), architecture(encoder.get("arch", "base"))["num_heads"]
    if base == "tiny":
        values["arch.base"] = "tiny"
    if base in ("tiny", "small") and (base, heads) != ("small", 12):  # that of the configs
        values["arch.num_heads"] = heads
    if encoder.get("position") == "none":
        values["position"] = "none"
    relative = encoder.get("relative_position")
    if relative:
        values["relative_position"] = "block_bias" if relative == "shared_bias" else relative
    for key in ("qkv_bias", "layer_scale", "patch_size"):
        if encoder.get(key) not in (None, STANDARD.get(key)):
            values[key] = encoder[key]
    if encoder.get("prefix_tokens"):
        values["prefix_tokens"] = f"[{','.join(encoder.prefix_tokens)}]"
    return [f"model.backbone.encoder.{key}={value}" for key, value in values.items()]
