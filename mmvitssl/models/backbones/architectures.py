"""Sizes of plain Vision Transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmvitssl.arguments import check_choice

ARCHITECTURES: dict[str, dict[str, int]] = {
    "tiny": dict(embed_dim=192, depth=12, num_heads=3),
    "small": dict(embed_dim=384, depth=12, num_heads=6),
    "base": dict(embed_dim=768, depth=12, num_heads=12),
    "large": dict(embed_dim=1024, depth=24, num_heads=16),
    "huge": dict(embed_dim=1280, depth=32, num_heads=16),
}


def architecture(arch: str | Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(arch, str):
        settings = dict(arch)
        base = settings.pop("base", None)
        settings = {**(ARCHITECTURES[base] if base else {}), **settings}
        wrong = set(settings) ^ {"embed_dim", "depth", "num_heads"}
        if wrong:
            raise ValueError(
                f"ViT.arch needs embed_dim, depth and num_heads (or base=... and what differs); "
                f"missing or unknown: {sorted(wrong)}."
            )
        for key, value in settings.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"ViT.arch.{key}={value!r} must be a whole number from 1 on.")
        if settings["embed_dim"] % settings["num_heads"]:
            raise ValueError(
                f"ViT.arch.num_heads={settings['num_heads']} must divide embed_dim="
                f"{settings['embed_dim']}."
            )
        return settings
    check_choice("ViT.arch", arch, ARCHITECTURES)
    return dict(ARCHITECTURES[arch])


def input_channels(owner: str, in_channels: int, in_chans: int | None) -> int:
    """The channels of an encoder's images: ``in_channels``, or by timm's name ``in_chans``.

    Raises:
        ValueError: fewer than one, or two that differ.
    """
    channels = in_channels if in_chans is None else in_chans
    if channels < 1 or (in_chans is not None and in_channels not in (3, in_chans)):
        raise ValueError(
            f"{owner}.in_channels={in_channels} (timm's in_chans={in_chans}) must be one number "
            f"from 1 on."
        )
    return channels
