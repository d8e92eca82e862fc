"""What a file says of its encoder that its weights do not show: heads, grid, normalisation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmvitssl.checkpoint.description import describe
from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.formats.base import Format
from mmvitssl.models.backbones.architectures import architecture
from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.backbones.swin import swin_architecture

Grid = tuple[int, int]
# names of architectures in the programs of MoCo v3 and DINO: (width, heads)
MOCOV3_ARCH = {
    **dict.fromkeys(("vit_small", "vit_conv_small"), (384, 12)),
    **dict.fromkeys(("vit_base", "vit_conv_base"), (768, 12)),
}
DINO_ARCH = {"vit_tiny": (192, 3), "vit_small": (384, 6), "vit_base": (768, 12)}
# formats of the codes that resize positions as DINO's does, and as DINOv2's with registers does
RESIZED, RESIZED_REGISTERS = (0.1, False), (0.0, True)
RESIZING = ("dino", "ibot", "dinov2-training", "dinov2", "transformers-dinov2")
SHOWN_HEADS = ("relative_position_bias_table", "rpe_k.lookup_table_weight")


def resize_rule(origin: str | None, state: Mapping[str, Tensor]) -> tuple[float, bool] | None:
    """``interpolate_offset`` and ``interpolate_antialias`` of a format; None: it has no rule.

    Args:
        origin: name of the format.
        state: of the encoder, with this package's names.
    """
    if origin not in RESIZING or "pos_embed" not in state:
        return None
    registers = any(key.startswith("prefix_tokens.register") for key in state)
    return RESIZED_REGISTERS if registers else RESIZED


@dataclass(frozen=True)
class Facts:
    """What a file says; None: it does not say.

    Attributes:
        heads: of a ViT, or of each stage of a Swin Transformer.
        heads_by: who says it, in words.
        grid: rows and columns of the position table.
        relative_grid: rows and columns of bias tables.
        mean, std: of the normalisation of images, for pixels in [0, 1].
    """

    heads: tuple[int, ...] | None = None
    heads_by: str = ""
    grid: Grid | None = None
    relative_grid: Grid | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def _pair(value: Any) -> tuple[int, int]:
    """A side, (height, width), or timm's (channels, height, width)."""
    return (value, value) if isinstance(value, int) else (int(value[-2]), int(value[-1]))


def _heads_of_config(encoder: Mapping[str, Any]) -> tuple[int, ...] | None:
    arch = encoder.get("arch")
    if arch is None:
        return None
    if str(encoder.get("type")).endswith("SwinTransformer"):
        return tuple(swin_architecture(arch)["num_heads"])
    return (architecture(arch)["num_heads"],)


def _of_config(content: Mapping[str, Any], path: str | Path) -> Facts | None:
    """From the config that a checkpoint of this package carries."""
    try:
        told = describe(content, path)
        if told is None:
            return None
        heads = _heads_of_config(told.encoder)
        mean, std = told.normalisation or (None, None)
        if str(told.encoder.get("type")).endswith("SwinTransformer"):
            return Facts(heads, "its config", mean=mean, std=std)
        patch = told.encoder.get("patch_size", 16)
        height, width = _pair(told.encoder.get("image_size", 224))
        grid = (height // patch, width // patch)
        relative = told.encoder.get("relative_grid")
        relative_grid = grid if relative is None else _pair(relative)
        return Facts(heads, "its config", grid, relative_grid, mean, std)
    except (CheckpointError, ValueError, TypeError) as error:
        print_log(f"The config in {path} was not compared: {error}", logger="current")
        return None


def _option(content: Mapping[str, Any], *names: str) -> Any:
    """One of the command-line options that official programs keep under ``args``."""
    args = content.get("args")
    options = args if isinstance(args, Mapping) else vars(args) if hasattr(args, "__dict__") else {}
    return next((options[name] for name in names if options.get(name) is not None), None)


def _heads_of_arch(content: Mapping[str, Any], width: int) -> tuple[int, str] | None:
    """From the name of the architecture that official programs write beside the weights."""
    top, option = content.get("arch"), _option(content, "arch", "model")
    if isinstance(top, str) and MOCOV3_ARCH.get(top, (0, 0))[0] == width:
        return MOCOV3_ARCH[top][1], f"arch='{top}', a name of MoCo v3's programs"
    for name in (top, option):
        if not isinstance(name, str):
            continue
        if name is option and DINO_ARCH.get(name, (0, 0))[0] == width:
            return DINO_ARCH[name][1], f"args.arch='{name}', a name of DINO's programs"
        heads = _heads_of_timm(name, width)
        if heads is not None:
            return heads, f"arch='{name}', a name of timm's"
    return None


def _heads_of_timm(name: str, width: int) -> int | None:
    import timm

    if not timm.is_model(name):
        return None
    with torch.device("meta"):
        model: Any = timm.create_model(name)
    blocks = getattr(model, "blocks", None)
    if getattr(model, "embed_dim", None) != width or not blocks:
        return None
    return getattr(blocks[0].attn, "num_heads", None)


def _hub_config(path: str | Path, origin: str | None) -> dict[str, Any]:
    """``config.json`` beside a file of Hugging Face transformers."""
    file = Path(path).with_name("config.json")
    if not (origin or "").startswith("transformers") or not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file} is not a config of transformers: {error}") from error
    return content if isinstance(content, dict) else {}


def facts_of(
    content: Mapping[str, Any], path: str | Path, origin: Format | None, state: Mapping[str, Tensor]
) -> Facts:
    """Collect what a file says of its encoder.

    The file's own config comes first; then what its program wrote beside the weights (``arch``,
    ``args``, ``config.json``); then what all published models of its format have in common.

    Args:
        content: of the file.
        path: of the file.
        origin: format of the file; None: this package's, or none that is known.
        state: the encoder's tensors, with this package's names.
    """
    found = _of_config(content, path)
    if found is not None:
        return found
    token, projection = state.get("cls_token"), state.get("patch_embed.proj.weight")
    known = token is not None and token.ndim and projection is not None and projection.ndim
    width = int(token.shape[-1]) if known and token is not None else 0
    patch = max(1, int(projection.shape[-1])) if known and projection is not None else 1
    meta = content.get("meta") or {}
    hub = _hub_config(path, origin.name if origin else None)
    size = hub.get("image_size") or _option(content, "input_size", "img_size")
    grid = None if not isinstance(size, int | tuple | list) else _pair(size)
    grid = None if grid is None or not width else (grid[0] // patch, grid[1] // patch)
    heads: tuple[int, str] | None = None
    if "num_attention_heads" in hub:
        heads = int(hub["num_attention_heads"]), "config.json"
    elif "heads" in meta:
        heads = int(meta["heads"]), "the file it was imported from"
    else:
        heads = _heads_of_arch(content, width)
    if heads is None and origin is not None and width in origin.heads:
        heads = origin.heads[width], f"the published models of its format, '{origin.name}'"
    if heads is None:
        return Facts(grid=grid)
    return Facts((heads[0],), heads[1], grid)


def check_heads(
    encoder: Backbone, facts: Facts, path: str | Path, state: Mapping[str, Tensor]
) -> list[str]:
    """Compare the heads of an encoder with those that a file was trained with.

    Weights have the same shapes with any number of heads, and give other features with each: ViT-S
    has 12 in MoCo v3 and CAE, 6 in DeiT, DINO and MoBY.

    Returns:
        a line if the file does not say, so that the model's number is a guess.

    Raises:
        CheckpointError: the numbers differ.
    """
    own = encoder.spec.num_heads
    if not own:
        return []
    if facts.heads is None:
        if any(key.endswith(SHOWN_HEADS) for key in state):
            return []  # tables of relative positions have a column for each head
        usual = encoder.spec.embed_dim // 64
        differs = len(own) == 1 and own[0] != usual and encoder.spec.embed_dim % 64 == 0
        hint = f" (most published models of this width have {usual})" if differs else ""
        return [
            f"The file does not say its number of attention heads: read with {_words(own)}{hint}"
        ]
    if facts.heads != own:
        raise CheckpointError(
            f"{path} was trained with {_words(facts.heads)} attention heads, this model has "
            f"{_words(own)}: set num_heads in the encoder's arch, as in arch=dict(base='small', "
            f"num_heads={facts.heads[0]}). (The number is from {facts.heads_by}.)"
        )
    return []


def _words(heads: tuple[int, ...]) -> str:
    return "-".join(map(str, heads))
