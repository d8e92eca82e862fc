"""Contrast of the views of an image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn

from mmvitssl.models.algorithms.step import ONLINE, TARGET, EncodeRequest, PretrainStep
from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.sizes import build_part
from mmvitssl.models.tasks.base import PretextTask, TaskResult, check_views
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded

KEYS = ("target", "detached", "online")
READOUTS = ("cls", "mean")


def check_token(task: nn.Module, token: str, encoder: Backbone) -> None:
    """Raise ValueError unless the encoder has the token."""
    if token not in READOUTS and token not in encoder.spec.prefix_tokens:
        raise ValueError(
            f"{type(task).__name__}.token='{token}' is no prefix token of the encoder: add it to "
            f"prefix_tokens, or use 'cls' or 'mean'."
        )


def feature_of(encoded: Encoded, token: str) -> Tensor:
    """Return the class token (or pooled feature), the mean patch, or a named token: (B, C)."""
    if token == "mean":
        return encoded.patches.mean(dim=1)
    return encoded.cls if token == "cls" else encoded.prefix[token]


@MODELS.register_module()
class Contrastive(PretextTask):
    """Predict the embedding of each view from that of another view (MoCo v3, SimCLR, BYOL).

    Queries are ``predictor(projector(feature))`` of one view, keys ``projector(feature)`` of
    another. With two views, a momentum target, projector, predictor and InfoNCE this is MoCo v3
    (algorithm 1): ``head(q1, k2) + head(q2, k1)``. Projector and predictor run once per view, so
    that batch norm sees one view at a time, as published.

    Args:
        head: config of a loss ``(queries, keys, view) -> (loss, metric)``.
        projector: config of a module (B, C) -> (B, D), copied by the momentum target; C is the
            backbone's.
        predictor: config of a module (B, D) -> (B, D) on the online branch, or None; D is the
            projector's.
        views: the views that are contrasted.
        pairs: (view of the query, view of the key); None: all ordered pairs. MoCo v2 has (0, 1).
        keys: 'target' (MoCo, BYOL, MoBY: the momentum branch), 'detached' (SimSiam: the online
            embeddings, as constants) or 'online' (SimCLR: with gradient); None: 'target' where
            the model has a momentum target, else 'detached'.
        token: 'cls'; 'mean' of all patches, which contrasts what dense predictors read; or the
            name of one of the encoder's prefix tokens.
        in_channels: C; the Pretrainer fills it in.
    """

    def __init__(
        self,
        head: dict[str, Any],
        projector: dict[str, Any],
        predictor: dict[str, Any] | None = None,
        views: Sequence[int] = (0, 1),
        pairs: Sequence[Sequence[int]] | None = None,
        keys: str | None = None,
        token: str = "cls",
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.views = tuple(views)
        check_views(self, self.views, least=2)
        every = list(permutations(self.views, 2))
        self.pairs = every if pairs is None else [(pair[0], pair[1]) for pair in pairs]
        if not self.pairs or not set(self.pairs) <= set(every):
            raise ValueError(f"Contrastive.pairs={pairs} must be pairs of the views {self.views}.")
        if keys not in (None, *KEYS):
            raise ValueError(f"Contrastive.keys='{keys}' is unknown; use None or one of {KEYS}.")
        self.keys = keys
        self.token = token
        self.projector = build_part(projector, "Contrastive.projector", in_channels=in_channels)
        out = self.projector.out_channels
        source = "Contrastive.projector.out_channels"
        self.head = build_part(head, "Contrastive.head", source, channels=out)
        self.predictor: nn.Module = nn.Identity()
        if predictor is not None:
            self.predictor = build_part(
                predictor, "Contrastive.predictor", source, in_channels=out, out_channels=out
            )

    def check(self, encoder: Backbone, has_target: bool) -> None:
        """See the base class: token and, for keys of the target, a target."""
        check_token(self, self.token, encoder)
        if self.keys == "target" and not has_target:
            raise ValueError(
                "Contrastive.keys='target' needs a momentum target: set Pretrainer.target."
            )
        self.keys = self.keys or ("target" if has_target else "detached")

    def momentum_modules(self) -> dict[str, nn.Module]:
        return {"projector": self.projector} if self.keys in (None, "target") else {}

    @property
    def _query_views(self) -> list[int]:
        return [view for view in self.views if any(query == view for query, _ in self.pairs)]

    @property
    def _key_views(self) -> list[int]:
        return [view for view in self.views if any(key == view for _, key in self.pairs)]

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        if self.keys == "target":
            queries = [EncodeRequest(view, ONLINE) for view in self._query_views]
            return queries + [EncodeRequest(view, TARGET) for view in self._key_views]
        return [EncodeRequest(view, ONLINE) for view in self.views]

    def _project(self, step: PretrainStep, views: list[int]) -> dict[int, Tensor]:
        return {v: self.projector(feature_of(step.encode(v), self.token)) for v in views}

    @torch.no_grad()
    def _target_keys(self, step: PretrainStep) -> dict[int, Tensor]:
        projector = step.target_module(self, "projector")
        return {
            view: projector(feature_of(step.encode_target(view), self.token))
            for view in self._key_views
        }

    def embeddings(self, step: PretrainStep) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Online projections and keys, both by view."""
        if self.keys == "target":
            keys = self._target_keys(step)
            return self._project(step, self._query_views), keys
        online = self._project(step, list(self.views))
        if self.keys == "online":
            return online, {view: online[view] for view in self._key_views}
        return online, {view: online[view].detach() for view in self._key_views}

    def loss(self, step: PretrainStep) -> TaskResult:
        online, keys = self.embeddings(step)
        losses, metrics = [], []
        for view in self._query_views:
            query = self.predictor(online[view])
            for other in (key for first, key in self.pairs if first == view):
                loss, metric = self.head(query, keys[other], other)
                losses.append(loss)
                metrics.append(metric)
        if self.training:
            self.head.update(keys)
        first = self._query_views[0]
        return TaskResult(
            loss=torch.stack(losses).sum(),
            metrics={self.head.metric: torch.stack(metrics).mean()},
            embeddings={
                "feature": feature_of(step.encode(first), self.token).detach(),
                "projection": online[first].detach(),
            },
        )
