"""Contrast of the views of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmvitssl.models.algorithms.step import ONLINE, TARGET, EncodeRequest, PretrainStep
from mmvitssl.models.tasks.base import PretextTask, TaskResult, check_views, check_width
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded


@MODELS.register_module()
class Contrastive(PretextTask):
    """Each view predicts the embeddings of the other views by the target branch.

    With two views, a momentum target, projector, predictor and InfoNCE this is MoCo v3
    (algorithm 1): ``head(q1, k2) + head(q2, k1)``. Projector and predictor run once a view, so
    that batch norm sees one view at a time, as published.

    Args:
        head: config of a loss ``(queries, keys) -> (loss, accuracy)``.
        projector: config of a module (B, C) -> (B, D), copied by the momentum target.
        predictor: config of a module (B, D) -> (B, D) on the online branch, or None.
        views: the views that are contrasted.
        token: 'cls', or the name of one of the encoder's prefix tokens.
    """

    def __init__(
        self,
        head: dict[str, Any],
        projector: dict[str, Any],
        predictor: dict[str, Any] | None = None,
        views: Sequence[int] = (0, 1),
        token: str = "cls",
    ) -> None:
        super().__init__()
        self.views = tuple(views)
        check_views(self, self.views, least=2)
        self.token = token
        self.head = MODELS.build(head)
        self.projector = MODELS.build(projector)
        self.predictor = nn.Identity() if predictor is None else MODELS.build(predictor)

    def check(self, encoder: Any, has_target: bool) -> None:
        """See the base class: the token must exist and the projector's width must fit."""
        check_width(self, "projector", self.projector.in_channels, encoder)
        if self.token != "cls" and self.token not in encoder.prefix_tokens:
            raise ValueError(
                f"Contrastive.token='{self.token}' is no prefix token of the encoder: add it to "
                f"prefix_tokens."
            )

    def momentum_modules(self) -> dict[str, nn.Module]:
        return {"projector": self.projector}

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        return [EncodeRequest(view, branch) for branch in (ONLINE, TARGET) for view in self.views]

    def _feature(self, encoded: Encoded) -> Tensor:
        return encoded.cls if self.token == "cls" else encoded.prefix[self.token]

    @torch.no_grad()
    def _keys(self, step: PretrainStep) -> dict[int, Tensor]:
        projector = step.target_module(self, "projector")
        return {v: projector(self._feature(step.encode_target(v))) for v in self.views}

    def loss(self, step: PretrainStep) -> TaskResult:
        keys = self._keys(step)
        losses, accuracies = [], []
        for view in self.views:
            query = self.predictor(self.projector(self._feature(step.encode(view))))
            for other in self.views:
                if other != view:
                    loss, accuracy = self.head(query, keys[other])
                    losses.append(loss)
                    accuracies.append(accuracy)
        return TaskResult(
            loss=torch.stack(losses).sum(),
            metrics={"accuracy": torch.stack(accuracies).mean()},
        )
