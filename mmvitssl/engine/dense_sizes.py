"""Channels that necks and heads of detectors and segmentors read follow from their backbone."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config

from mmvitssl.config_tree import kind_of, listed
from mmvitssl.engine.errors import UserError
from mmvitssl.registry import MODELS

BACKBONES = ("DenseFeatures", "WindowedFeatures")
ONE_WIDTH = ("ScalePyramid", "SimpleFeaturePyramid")  # necks that take a number
KEEPS = ("ScalePyramid",)  # necks whose outputs have the channels of their inputs


def _where(model: Any, name: str, number: int) -> str:
    return f"model.{name}.{number}" if isinstance(model[name], (list, tuple)) else f"model.{name}"


def _fill(part: Any, name: str, key: str, value: Any) -> None:
    stated = part.get(key)
    if stated is None:
        part[key] = value
    elif listed(stated) != listed(value):
        raise UserError(
            f"{name}.{key}={stated}, but model.backbone gives {value}: leave it out or set it to "
            f"None, so that it follows."
        )


def resolve_dense(config: Config) -> None:
    """Write the channels that a backbone's neck and heads read, in place, where they are None.

    ``in_channels`` of the necks and heads that read the backbone's maps, and ``channels`` of heads
    where it is None, which is the backbone's width (BEiT's and CAE's UperNet).

    Raises:
        UserError: a config states others; the message has both.
    """
    model = config.get("model")
    model = model if isinstance(model, dict) else {}
    backbone = model.get("backbone")
    if not isinstance(backbone, dict) or kind_of(backbone) not in BACKBONES:
        return
    with torch.device("meta"):
        built = MODELS.build(dict(backbone))
    maps = list(built.encoder.spec.channels_of(built.levels))
    for number, neck in enumerate(listed(model.get("neck"))):
        if maps:
            one = kind_of(neck) in ONE_WIDTH
            _fill(neck, _where(model, "neck", number), "in_channels", maps[-1] if one else maps)
        if kind_of(neck) not in KEEPS:
            maps = []  # what follows reads the neck's own channels
    for name in ("decode_head", "auxiliary_head"):
        for number, head in enumerate(listed(model.get(name))):
            if maps:
                index = head.get("in_index", -1)
                several = isinstance(index, (list, tuple))
                chosen = [maps[i] for i in index] if several else maps[index]
                _fill(head, _where(model, name, number), "in_channels", chosen)
            if head.get("channels", 0) is None:
                head["channels"] = built.embed_dim
