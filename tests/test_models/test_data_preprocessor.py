"""Normalisation on the device, and the view before it."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import functional as F

from mmvitssl.models.data_preprocessor import ViewPreprocessor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_pixels_are_the_exact_view_and_images_its_normalisation() -> None:
    views = [torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8) for _ in range(2)]
    processor = ViewPreprocessor()
    out = processor({"views": views, "samples": {"index": torch.arange(2)}}, training=True)
    for raw, view in zip(views, out["views"], strict=True):
        assert torch.equal((view.pixels * 255).round().byte(), raw)
        torch.testing.assert_close(view.images, F.normalize(raw.float() / 255, MEAN, STD))
        torch.testing.assert_close(view.images * processor.std + processor.mean, view.pixels)
        assert view.size == (5, 7) and view.batch_size == 2


def test_only_uint8_is_taken() -> None:
    with pytest.raises(TypeError, match="takes uint8 views"):
        ViewPreprocessor()({"views": [torch.zeros(1, 3, 4, 4)], "samples": {}})


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="pixels in"):
        ViewPreprocessor(mean=(123.0, 116.0, 103.0), std=(58.0, 57.0, 57.0))


def test_statistics_are_no_weights() -> None:
    assert not ViewPreprocessor().state_dict()
