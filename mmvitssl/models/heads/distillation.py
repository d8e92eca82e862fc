"""DINO's loss: the student predicts the teacher's distribution over prototypes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmvitssl.models.heads.contrastive import check_temperature
from mmvitssl.models.heads.distribution import TeacherDistribution, entropy_metrics
from mmvitssl.registry import MODELS


@MODELS.register_module()
class DINOLoss(TeacherDistribution):
    """Cross-entropy between centred, sharpened teacher and student (DINO, section 3.1).

    Args:
        student_temperature: of the student's softmax.
        prototypes, teacher_temperature, warmup_temperature, warmup_epochs, center_momentum, kwargs:
            see :class:`~mmvitssl.models.heads.distribution.TeacherDistribution`.

    Raises:
        ValueError: a temperature that is not positive, or a momentum outside [0, 1].
    """

    def __init__(
        self,
        prototypes: int = 65536,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        warmup_temperature: float = 0.04,
        warmup_epochs: float = 0,
        center_momentum: float = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            prototypes, teacher_temperature, warmup_temperature, warmup_epochs,
            center_momentum=center_momentum, **kwargs,
        )  # fmt: skip
        check_temperature(self, student_temperature)
        self.student_temperature = student_temperature

    def forward(
        self,
        student: Mapping[int, Tensor],
        teacher: Mapping[int, Tensor],
        epoch: int,
        iteration: int = 0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare all pairs of different views.

        Args:
            student: (B, K) logits by view.
            teacher: (B, K) logits by view, without gradient.
            epoch: zero-based, for the teacher's temperature.
            iteration: zero-based, where the temperature follows iterations.

        Returns:
            the mean loss of a pair, and the entropy of the teacher: 0 where it has collapsed to
            one prototype, log K where it is uniform.
        """
        temperature = self.temperature_at(epoch, iteration)
        joined = self.probabilities(torch.cat(list(teacher.values())), temperature)
        parts = joined.split([len(logits) for logits in teacher.values()])
        targets = dict(zip(teacher, parts, strict=True))
        logs = {v: (s.float() / self.student_temperature).log_softmax(-1)
                for v, s in student.items()}  # fmt: skip
        # the sum over the other views first: one product a teacher view instead of one a pair
        total = torch.stack(list(logs.values())).sum(dim=0)
        terms, pairs = [], 0
        for view, target in targets.items():
            others = total - logs[view] if view in logs else total
            terms.append(-(target * others).sum(dim=-1).mean())
            pairs += len(logs) - (view in logs)
        return torch.stack(terms).sum() / pairs, entropy_metrics(joined)

    @torch.no_grad()
    def update(self, teacher: Mapping[int, Tensor]) -> None:
        """Move the centre towards the mean of the teacher's outputs of all processes."""
        self.move_center(torch.cat(list(teacher.values())))
