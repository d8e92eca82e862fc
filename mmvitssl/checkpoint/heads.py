"""The number of attention heads, which weights do not show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmvitssl.checkpoint.safe import CheckpointError


def _told_heads(content: Mapping[str, Any], path: str | Path) -> tuple[int, ...] | None:
    """Heads, of a ViT or of each stage, by the config in a checkpoint; None: it does not say."""
    # here, because these packages read checkpoints themselves
    from mmvitssl.checkpoint.rebuild import describe
    from mmvitssl.models.backbones.architectures import architecture
    from mmvitssl.models.backbones.swin import swin_architecture

    try:
        told = describe(content, path)
        arch = None if told is None else told.encoder.get("arch")
        if told is None or arch is None:
            return None
        if str(told.encoder.get("type")).endswith("SwinTransformer"):
            return tuple(swin_architecture(arch)["num_heads"])
        return (architecture(arch)["num_heads"],)
    except (CheckpointError, ValueError) as error:
        print_log(f"The number of heads in {path} was not compared: {error}", logger="current")
        return None


def heads_of(encoder: Any) -> tuple[int, ...]:
    """Heads of a ViT, or of each stage of a Swin Transformer."""
    stages = getattr(encoder, "layers", None) or [encoder]
    return tuple(stage.blocks[0].attn.num_heads for stage in stages)


def check_heads(encoder: Any, content: Mapping[str, Any], path: str | Path) -> None:
    """Compare the heads of an encoder with those that a checkpoint says it was trained with.

    Weights have the same shapes with any number of heads, and give other features with each: ViT-S
    has 12 in MoCo v3 and CAE, 6 in DeiT, DINO and MoBY. Files that say nothing of it pass.

    Raises:
        CheckpointError: the numbers differ.
    """
    told, own = _told_heads(content, path), heads_of(encoder)
    if told is not None and told != own:
        raise CheckpointError(
            f"{path} was trained with {_words(told)} attention heads, this model has {_words(own)}:"
            f" set num_heads in the encoder's arch, as in arch=dict(base='small', num_heads=12)."
        )


def _words(heads: tuple[int, ...]) -> str:
    return "-".join(map(str, heads))
