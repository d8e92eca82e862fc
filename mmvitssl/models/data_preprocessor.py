"""From collated uint8 views to what the encoder sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn

from mmvitssl.registry import MODELS
from mmvitssl.structures import View


def build_preprocessor(config: dict[str, Any] | None) -> nn.Module:
    """The data preprocessor of a config, this package's by default, whatever the default scope."""
    return MODELS.build(config or dict(type="ViewPreprocessor"))


def training_sizes(preprocessor: nn.Module, views: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Height and width of views as the model gets them in training.

    Args:
        preprocessor: of the model; one with ``augment`` may crop.
        views: (..., H, W) each, of the pipeline.

    Raises:
        ValueError: ``augment`` describes another number of views.
    """
    augment = getattr(preprocessor, "augment", None)
    if augment is not None:
        return augment.sizes(views)
    return [(view.shape[-2], view.shape[-1]) for view in views]


@MODELS.register_module()
class ViewPreprocessor(BaseDataPreprocessor):
    """Move views to the device and normalise them there.

    Args:
        mean: mean of each channel, in [0, 1]; of red, green and blue by default.
        std: standard deviation of each channel, in [0, 1].
        non_blocking: whether the transfer to the device may overlap with computation.
        augment: config of :class:`DeviceAugment`, which augments views for training once they are
            on the device; None: the pipeline does.

    Raises:
        ValueError: not one mean and one positive deviation in [0, 1] per channel.
    """

    def __init__(
        self,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        non_blocking: bool = True,
        augment: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        channels = len(mean)
        if not channels or len(std) != channels or not all(0 < value <= 1 for value in std):
            raise ValueError(
                f"ViewPreprocessor needs as many means as positive deviations, one of each per "
                f"channel, for pixels in [0, 1]; got mean={mean}, std={std}."
            )
        self.augment = None if augment is None else MODELS.build(augment)
        self.register_buffer("mean", torch.tensor(mean).view(1, channels, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, channels, 1, 1), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> zero mean, unit variance."""
        return (pixels - self.mean) / self.std

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """``{'views': [uint8 (B, C, H, W)], 'samples': ...}`` -> ``{'views': [View], ...}``.

        Features that were computed before (``features`` in place of ``views``) are moved to the
        device only.

        Raises:
            TypeError: a view is not uint8.
            ValueError: a view has another number of channels than there are means.
        """
        if "features" in data:
            return {"features": self.cast_data(data["features"]), "samples": data["samples"]}
        views = self.cast_data(data["views"])
        for view in views:
            if view.dtype != torch.uint8:
                raise TypeError(
                    f"ViewPreprocessor takes uint8 views and got {view.dtype}: normalisation "
                    f"happens here, so remove it from the pipeline."
                )
            if view.shape[1] != self.mean.numel():
                raise ValueError(
                    f"ViewPreprocessor has {self.mean.numel()} means and got a view of "
                    f"{view.shape[1]} channels: set data_preprocessor's mean and std, "
                    f"LoadImage.channels and the encoder's in_channels alike."
                )
        if training and self.augment is not None:
            views = self.augment(views, data["samples"])
        return {"views": [self._view(view) for view in views], "samples": data["samples"]}

    def _view(self, view: Tensor) -> View:
        pixels = view.float() / 255
        mean, std = self.mean.flatten(), self.std.flatten()
        return View(pixels=pixels, images=self.normalise(pixels), mean=mean, std=std)
