"""What the comparisons share: models with a fixture's weights, and steps on its images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmvitssl.apis.recipes import CONFIGS
from mmvitssl.checkpoint.formats import FORMATS
from mmvitssl.checkpoint.strict import check_keys
from mmvitssl.engine.config_files import read_config
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.registry import MODELS
from mmvitssl.structures import View
from parity.fixture import Fixture

FORMAT_NAMES = {"dinov2": "dinov2-training"}
ConfigOf = Callable[[Fixture], dict[str, Any]]


def shipped_config(fixture: Fixture, recipe: str, **options: Any) -> Any:
    """The model of a shipped config at the fixture's sizes, by the keys that say sizes.

    Args:
        fixture: whose sizes.
        recipe: below ``configs/``.
        options: further values of the model, by key with ``__`` for the dots.
    """
    names = ("embed_dim", "num_heads", "depths" if "depths" in fixture.meta else "depth")
    changes: dict[str, Any] = {
        "encoder.arch": {name: fixture.size(name) for name in names},
        "encoder.image_size": fixture.size("img_size"),
        **{key.replace("__", "."): value for key, value in options.items()},
    }
    if "patch_size" in fixture.meta:
        changes["encoder.patch_size"] = fixture.size("patch_size")
    path = CONFIGS / recipe
    return read_config(str(path), {f"model.{key}": value for key, value in changes.items()}).model


def build(fixture: Fixture, config_of: ConfigOf, extra: dict[str, Tensor] | None = None) -> Any:
    """The model with the fixture's weights (and ``extra`` ones of its file), in eval mode."""
    model: Pretrainer = MODELS.build(config_of(fixture))
    official = {**fixture.state, **(extra or {})}
    method = fixture.size("method")
    state = FORMATS[FORMAT_NAMES.get(method, method)].import_state(official).state
    check_keys(model.state_dict(), state, fixture.path, "an official checkpoint")
    model.load_state_dict(state)
    return model.eval()


def start(model: Pretrainer, images: list[Tensor], epoch: int = 0) -> PretrainStep:
    """A step on images as they are."""
    number = torch.arange(len(images[0]))
    samples = {"index": number, "epoch": torch.full_like(number, epoch)}
    return model.start([View(image, image) for image in images], samples)
