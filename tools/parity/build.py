"""What the comparisons share: models with a fixture's weights, and steps on its images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmvitssl.checkpoint.formats import FORMATS
from mmvitssl.checkpoint.strict import check_keys
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.registry import MODELS
from mmvitssl.structures import View
from parity.fixture import Fixture

ConfigOf = Callable[[Fixture], dict[str, Any]]


def vit_config(fixture: Fixture, **settings: Any) -> dict[str, Any]:
    """A ViT of the fixture's sizes."""
    sizes = {name: fixture.size(name) for name in ("embed_dim", "depth", "num_heads")}
    return dict(
        type="ViT",
        arch=sizes,
        image_size=fixture.size("img_size"),
        patch_size=fixture.size("patch_size"),
        **settings,
    )


def build(fixture: Fixture, config_of: ConfigOf, extra: dict[str, Tensor] | None = None) -> Any:
    """The model with the fixture's weights (and ``extra`` ones of its file), in eval mode."""
    model: Pretrainer = MODELS.build(config_of(fixture))
    official = {**fixture.state, **(extra or {})}
    state = FORMATS[fixture.size("method")].import_state(official).state
    check_keys(model.state_dict(), state, fixture.path, "an official checkpoint")
    model.load_state_dict(state)
    return model.eval()


def start(model: Pretrainer, images: list[Tensor], epoch: int = 0) -> PretrainStep:
    """A step on images as they are."""
    number = torch.arange(len(images[0]))
    samples = {"index": number, "epoch": torch.full_like(number, epoch)}
    return model.start([View(image, image) for image in images], samples)
