"""Self-distillation with no labels (DINO)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmvitssl.models.algorithms.step import ONLINE, TARGET, EncodeRequest, PretrainStep
from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.sizes import build_part
from mmvitssl.models.tasks.base import PretextTask, TaskResult, check_views
from mmvitssl.models.tasks.contrastive import check_token, feature_of
from mmvitssl.registry import MODELS


@MODELS.register_module()
class SelfDistillation(PretextTask):
    """The student, on all crops, predicts the teacher's output on the global ones (DINO).

    Args:
        projector: config of :class:`PrototypeMLP`, copied by the momentum target.
        head: config of :class:`DINOLoss`; its prototypes are the projector's.
        global_views: views that the teacher sees.
        local_views: smaller views that only the student sees.
        token: 'cls', or the name of one of the encoder's prefix tokens.
        in_channels: the backbone's width; the Pretrainer fills it in.
    """

    def __init__(
        self,
        projector: dict[str, Any],
        head: dict[str, Any],
        global_views: Sequence[int] = (0, 1),
        local_views: Sequence[int] = (2, 3, 4, 5, 6, 7, 8, 9),
        token: str = "cls",
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.global_views, self.views = tuple(global_views), (*global_views, *local_views)
        check_views(self, self.views, least=2)
        if not self.global_views:
            raise ValueError("SelfDistillation.global_views is empty: the teacher needs a view.")
        self.token = token
        self.projector = build_part(
            projector, "SelfDistillation.projector", in_channels=in_channels
        )
        self.head = build_part(
            head,
            "SelfDistillation.head",
            "SelfDistillation.projector.prototypes",
            prototypes=self.projector.out_channels,
        )

    def check(self, encoder: Backbone, has_target: bool) -> None:
        """See the base class: token and a teacher."""
        check_token(self, self.token, encoder)
        if not has_target:
            raise ValueError(
                "SelfDistillation needs a momentum target, its teacher: set Pretrainer.target."
            )

    def momentum_modules(self) -> dict[str, nn.Module]:
        return {"projector": self.projector}

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        student = [EncodeRequest(view, ONLINE) for view in self.views]
        return student + [EncodeRequest(view, TARGET) for view in self.global_views]

    def _outputs(
        self, projector: nn.Module, features: list[Tensor], views: tuple[int, ...]
    ) -> dict[int, Tensor]:
        """Logits of several views in one pass; the head has no batch norm that would mind."""
        outputs = projector(torch.cat(features))
        return dict(zip(views, outputs.split([len(f) for f in features]), strict=True))

    def student(self, step: PretrainStep) -> dict[int, Tensor]:
        """(B, K) logits by view."""
        features = [feature_of(step.encode(view), self.token) for view in self.views]
        return self._outputs(self.projector, features, self.views)

    @torch.no_grad()
    def teacher(self, step: PretrainStep) -> dict[int, Tensor]:
        """(B, K) logits by global view."""
        encoded = [step.encode_target(view) for view in self.global_views]
        features = [feature_of(one, self.token) for one in encoded]
        return self._outputs(step.target_module(self, "projector"), features, self.global_views)

    def loss(self, step: PretrainStep) -> TaskResult:
        teacher = self.teacher(step)
        epoch = int(step.samples["epoch"][0])  # on the CPU: samples do not travel
        loss, metrics = self.head(self.student(step), teacher, epoch)
        if self.training:
            self.head.update(teacher)
        feature = feature_of(step.encode(self.global_views[0]), self.token).detach()
        return TaskResult(loss, metrics, {"feature": feature})
