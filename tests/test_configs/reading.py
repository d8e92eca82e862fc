"""Shipped configs, each read once."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmvitssl.engine.config_files import read_config
from mmvitssl.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@cache
def _read(path: str) -> Config:
    return read_config(str(CONFIGS / path))


def read(path: str) -> Config:
    """A copy of a config, by its path below ``configs/``."""
    return deepcopy(_read(path))


def build(config: Config) -> Any:
    """Its model, without memory for the weights."""
    with torch.device("meta"):
        return MODELS.build(config.model)


@cache
def built(path: str) -> Any:
    """The model of a config, to be looked at only."""
    return build(read(path))
