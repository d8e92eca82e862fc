"""Prediction of image rotations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mmvitssl.models.algorithms.step import EncodeRequest, PretrainStep
from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.heads.mlp import ClassHead
from mmvitssl.models.tasks.base import PretextTask, TaskResult, check_views
from mmvitssl.models.tasks.contrastive import check_token, feature_of
from mmvitssl.registry import MODELS

TURNS = 4


def turn(images: Tensor, quarters: Tensor) -> Tensor:
    """Turn each image by its number of quarters, counter-clockwise.

    Images that are not square are replaced by their middle square, turned and enlarged: stretching
    a quarter turn alone would give the class away.

    Args:
        images: (B, 3, H, W).
        quarters: (B,) long in 0..3, on the device of the images.

    Returns:
        (B, 3, H, W).
    """
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[..., top : top + side, left : left + side]
    turned = torch.stack([square.rot90(k, dims=(2, 3)) for k in range(TURNS)])
    turned = turned[quarters, torch.arange(len(images), device=images.device)]
    if height != width:
        turned = F.interpolate(turned, (height, width), mode="bilinear", antialias=True)
    return turned


@MODELS.register_module()
class Rotation(PretextTask):
    """Predict by which of four rotations a view was turned, from a token of its own (MTSSL; SiT).

    Whole views are turned before patches are altered, so all tasks see turned views; contrast may
    become invariant and rotation stay sensitive, since they read different tokens. A view that
    another task pairs with a turned one (a tokenizer's view) is turned with it.

    Args:
        in_channels: the backbone's width; the Pretrainer fills it in.
        views: the views that are turned, each image of each by itself.
        token: 'cls', or the name of one of the encoder's prefix tokens.
        hidden: width of a hidden layer; None: a linear layer, as SiT.
    """

    def __init__(
        self,
        in_channels: int,
        views: Sequence[int] = (0,),
        token: str = "rotation",
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.views = tuple(views)
        check_views(self, self.views, least=1)
        self.token = token
        self.head = ClassHead(in_channels, TURNS, hidden)

    def check(self, encoder: Backbone, has_target: bool) -> None:
        """See the base class: the token."""
        check_token(self, self.token, encoder)

    def labels(self, step: PretrainStep, view: int) -> Tensor:
        """(B,) quarters that the images of a view, and of those paired with it, are turned by."""
        view = step.paired_with(view)[0]  # one draw for all of them

        def draw() -> Tensor:
            number = step.view(view).batch_size
            drawn = step.draws(self).integers(0, TURNS, number)
            return drawn.to(step.device, non_blocking=True)

        return step.once(self, f"quarters {view}", draw)

    def transform_views(self, step: PretrainStep) -> None:
        for view in sorted({step.paired_with(view)[0] for view in self.views}):
            step.transform(view, partial(turn, quarters=self.labels(step, view)))

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        return [EncodeRequest(view) for view in self.views]

    def loss(self, step: PretrainStep) -> TaskResult:
        features = [feature_of(step.encode(view), self.token) for view in self.views]
        labels = [self.labels(step, view) for view in self.views]
        return TaskResult(*self.head.loss(self.head(torch.cat(features)), torch.cat(labels)))
