"""Self-distillation with no labels (DINO, iBOT, DINOv2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmvitssl.models.algorithms.step import ONLINE, TARGET, EncodeRequest, PretrainStep
from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.masking import WindowMasking
from mmvitssl.models.necks.mlp import unit
from mmvitssl.models.sizes import build_part
from mmvitssl.models.tasks.base import PretextTask, TaskResult, check_views, other_task
from mmvitssl.models.tasks.contrastive import check_token, feature_of
from mmvitssl.models.tasks.masked import MaskedModeling
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded


class MaskedViews:
    """Passes of the online encoder over views, some of which another task masks.

    Args:
        owner: the task that reads the passes.
        masked_by: name of the :class:`MaskedModeling` task; None: no view is masked.
    """

    def __init__(self, owner: PretextTask, masked_by: str | None) -> None:
        self.owner, self.masked_by = owner, masked_by
        self.masker: MaskedModeling | None = None

    def connect(self, tasks: Mapping[str, PretextTask]) -> None:
        """Find the task, or ValueError; windows leave no pass with one class token per image."""
        if self.masked_by is None:
            return
        found = other_task(self.owner, "masked_by", self.masked_by, tasks)
        if not isinstance(found, MaskedModeling):
            raise ValueError(
                f"{type(self.owner).__name__}.masked_by='{self.masked_by}' is a "
                f"{type(found).__name__}: it must be a MaskedModeling task."
            )
        if isinstance(found.masking, WindowMasking):
            raise ValueError(
                f"{type(self.owner).__name__}.masked_by='{self.masked_by}': WindowMasking encodes "
                f"windows of an image, which have no class token of the whole image. Set "
                f"masked_by=None, which encodes whole images too."
            )
        self.masker = found

    def request(self, step: PretrainStep, view: int) -> EncodeRequest:
        """The pass over a view."""
        if self.masker is None or view not in self.masker.views:
            return EncodeRequest(view, ONLINE)
        return self.masker.request(step, view)

    def encode(self, step: PretrainStep, view: int) -> Encoded:
        """Its features."""
        request = self.request(step, view)
        return step.encode(view, request.plan, clean=request.clean)


@MODELS.register_module()
class SelfDistillation(PretextTask):
    """Predict the teacher's output on global crops from the student's on all (DINO, section 3.1).

    Args:
        projector: config of :class:`PrototypeMLP`, copied by the momentum target.
        head: config of :class:`DINOLoss`; its prototypes are the projector's.
        global_views: views that the teacher sees.
        local_views: smaller views that only the student sees.
        token: 'cls', 'mean' of the patches, or the name of one of the encoder's prefix tokens.
        masked_by: name of a :class:`MaskedModeling` task: where it masks a view, the student's
            token comes from that masked pass (iBOT, DINOv2), and no other pass runs.
        in_channels: the backbone's width; the Pretrainer fills it in.
    """

    def __init__(
        self,
        projector: dict[str, Any],
        head: dict[str, Any],
        global_views: Sequence[int] = (0, 1),
        local_views: Sequence[int] = (2, 3, 4, 5, 6, 7, 8, 9),
        token: str = "cls",
        masked_by: str | None = None,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.global_views, self.views = tuple(global_views), (*global_views, *local_views)
        check_views(self, self.views, least=2)
        if not self.global_views:
            raise ValueError("SelfDistillation.global_views is empty: the teacher needs a view.")
        self.token = token
        self.passes = MaskedViews(self, masked_by)
        self.projector = build_part(
            projector, "SelfDistillation.projector", in_channels=in_channels
        )
        self.head = build_part(
            head,
            "SelfDistillation.head",
            "SelfDistillation.projector.prototypes",
            prototypes=self.projector.out_channels,
        )

    def connect(self, tasks: Mapping[str, PretextTask]) -> None:
        self.passes.connect(tasks)

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
        student = [self.passes.request(step, view) for view in self.views]
        return student + [EncodeRequest(view, TARGET) for view in self.global_views]

    def _outputs(
        self, projector: nn.Module, features: list[Tensor], views: tuple[int, ...]
    ) -> dict[int, Tensor]:
        """Logits of several views in one pass; the head has no batch norm that would mind."""
        outputs = projector(torch.cat(features))
        return dict(zip(views, outputs.split([len(f) for f in features]), strict=True))

    def feature(self, step: PretrainStep, view: int) -> Tensor:
        """(B, C) the student's feature of a view, before the projector."""
        return feature_of(self.passes.encode(step, view), self.token)

    def student(self, step: PretrainStep) -> dict[int, Tensor]:
        """(B, K) logits by view."""
        features = [self.feature(step, view) for view in self.views]
        return self._outputs(self.projector, features, self.views)

    @torch.no_grad()
    def teacher(self, step: PretrainStep) -> dict[int, Tensor]:
        """(B, K) logits by global view."""
        encoded = [step.encode_target(view) for view in self.global_views]
        features = [feature_of(one, self.token) for one in encoded]
        return self._outputs(step.target_module(self, "projector"), features, self.global_views)

    def loss(self, step: PretrainStep) -> TaskResult:
        teacher = self.teacher(step)
        loss, metrics = self.head(self.student(step), teacher, step.epoch, step.iteration)
        if self.training:
            self.head.update(teacher)
        feature = self.feature(step, self.global_views[0]).detach()
        return TaskResult(loss, metrics, {"feature": feature})


@MODELS.register_module()
class KoLeo(PretextTask):
    """Spread the features of a batch: minus the log of the distance to the nearest neighbour.

    The Kozachenko-Leonenko estimator of the entropy (Sablayrolles et al., 2019; DINOv2, section
    4). Neighbours are those of the same view and process; the loss is the sum over views.

    Args:
        views: whose features are spread.
        token: see :class:`SelfDistillation`.
        masked_by: see :class:`SelfDistillation`.
    """

    epsilon = 1e-8

    def __init__(
        self, views: Sequence[int] = (0, 1), token: str = "cls", masked_by: str | None = None
    ) -> None:
        super().__init__()
        self.views, self.token = tuple(views), token
        check_views(self, self.views, least=1)
        self.passes = MaskedViews(self, masked_by)

    def connect(self, tasks: Mapping[str, PretextTask]) -> None:
        self.passes.connect(tasks)

    def check(self, encoder: Backbone, has_target: bool) -> None:
        """See the base class: the token."""
        check_token(self, self.token, encoder)

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        return [self.passes.request(step, view) for view in self.views]

    def distances(self, features: Tensor) -> Tensor:
        """(B, C) -> (B,) of unit vectors to their nearest neighbours.

        Raises:
            ValueError: fewer than two images.
        """
        if len(features) < 2:
            raise ValueError("KoLeo needs at least two images per process.")
        directions = unit(features)
        with torch.no_grad():
            similarity = directions @ directions.t()
            nearest = similarity.fill_diagonal_(-1).argmax(dim=1)
        difference = directions - directions[nearest] + self.epsilon
        return difference.norm(dim=1)

    def loss(self, step: PretrainStep) -> TaskResult:
        features = [feature_of(self.passes.encode(step, view), self.token) for view in self.views]
        distances = torch.stack([self.distances(feature) for feature in features])
        loss = -(distances + self.epsilon).log().mean(dim=1).sum()
        return TaskResult(loss, {"distance": distances.mean().detach()})
