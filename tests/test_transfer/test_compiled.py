"""``--compile`` reaches the backbones of detectors and segmentors."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch._dynamo.utils import counters

from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.launch import compile_encoders, prepare_scope
from mmvitssl.registry import MODELS
from tests.test_transfer.small_detectors import COCO, small_detector
from tests.test_transfer.small_segmentors import TRANSFER, shrink_model

DETECTORS = ["mask-rcnn_vit-small_16xb2-1x_coco", "mask-rcnn_vitdet-base_64xb1-100e_coco-1024px"]
SEGMENTORS = [
    "upernet_beit-vit-base_8xb2-160k_ade20k-512x512",
    "upernet_lomar-vit-base_8xb2-160k_ade20k-512x512",
    "upernet_swin-tiny_8xb2-160k_ade20k-512x512",
]
SIZES = [(64, 64), (80, 112)]


def backbone_config(name: str) -> Config:
    for path in (COCO / f"{name}.py", TRANSFER / "ade20k" / f"{name}.py"):
        if path.is_file() and path.parent == COCO:
            return small_detector(path).model.backbone
        if path.is_file():
            config = read_config(str(path))
            prepare_scope(config)
            shrink_model(config.model)
            return config.model.backbone
    raise FileNotFoundError(name)


def features_and_gradient(model: Any, size: tuple[int, int]) -> list[torch.Tensor]:
    torch.manual_seed(1)
    images = torch.randn(2, 3, *size, requires_grad=True)
    maps = model(images)
    sum(level.square().mean() for level in maps).backward()
    return [*maps, images.grad, next(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("name", [*DETECTORS, *SEGMENTORS])
def test_compiled_backbones_equal_eager_ones(name: str) -> None:
    torch._dynamo.reset()
    counters.clear()
    eager = MODELS.build(backbone_config(name)).eval()
    compiled = deepcopy(eager)
    assert compile_encoders(SimpleNamespace(model=torch.nn.Sequential(compiled)), "eager") == 1
    for size in SIZES:
        eager.zero_grad(), compiled.zero_grad()
        expected = features_and_gradient(eager, size)
        found = features_and_gradient(compiled, size)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == len(SIZES)
    assert not counters["graph_break"]
    assert list(compiled.state_dict()) == list(eager.state_dict())
