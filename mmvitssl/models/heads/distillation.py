"""DINO's loss: the student predicts the teacher's distribution over prototypes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmvitssl.distributed import mean_over_processes
from mmvitssl.models.heads.contrastive import check_temperature
from mmvitssl.registry import MODELS


@MODELS.register_module()
class DINOLoss(nn.Module):
    """Cross-entropy between centred, sharpened teacher and student (DINO, section 3.1).

    Args:
        prototypes: K.
        student_temperature: of the student's softmax.
        teacher_temperature: of the teacher's, after the warm-up.
        warmup_temperature: of the teacher's at the start.
        warmup_epochs: epochs over which it rises linearly.
        center_momentum: weight of the old centre at its update.

    Raises:
        ValueError: a temperature that is not positive, or a momentum outside [0, 1].
    """

    center: Tensor

    def __init__(
        self,
        prototypes: int = 65536,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        warmup_temperature: float = 0.04,
        warmup_epochs: float = 0,
        center_momentum: float = 0.9,
    ) -> None:
        super().__init__()
        for value in (student_temperature, teacher_temperature, warmup_temperature):
            check_temperature(self, value)
        if not 0 <= center_momentum <= 1:
            raise ValueError(f"DINOLoss.center_momentum={center_momentum} must lie in [0, 1].")
        self.student_temperature = student_temperature
        self.teacher_temperature, self.warmup_temperature = teacher_temperature, warmup_temperature
        self.warmup_epochs, self.center_momentum = warmup_epochs, center_momentum
        self.register_buffer("center", torch.zeros(1, prototypes))

    def temperature_at(self, epoch: int) -> float:
        """The teacher's temperature: linear over the warm-up epochs, both ends included."""
        if epoch >= self.warmup_epochs:
            return self.teacher_temperature
        share = epoch / max(self.warmup_epochs - 1, 1)
        rise = self.teacher_temperature - self.warmup_temperature
        return self.warmup_temperature + share * rise

    def forward(
        self, student: Mapping[int, Tensor], teacher: Mapping[int, Tensor], epoch: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare all pairs of different views.

        Args:
            student: (B, K) logits by view.
            teacher: (B, K) logits by view, without gradient.
            epoch: zero-based.

        Returns:
            the mean loss of a pair, and the entropy of the teacher: 0 where it has collapsed to
            one prototype, log K where it is uniform.
        """
        temperature = self.temperature_at(epoch)
        targets = {v: ((t.float() - self.center) / temperature).softmax(-1)
                   for v, t in teacher.items()}  # fmt: skip
        logs = {v: (s.float() / self.student_temperature).log_softmax(-1)
                for v, s in student.items()}  # fmt: skip
        # the sum over the other views first: one product a teacher view instead of one a pair
        total = torch.stack(list(logs.values())).sum(dim=0)
        terms, pairs = [], 0
        for view, target in targets.items():
            others = total - logs[view] if view in logs else total
            terms.append(-(target * others).sum(dim=-1).mean())
            pairs += len(logs) - (view in logs)
        entropies = [-(t * t.clamp(min=1e-12).log()).sum(-1).mean() for t in targets.values()]
        entropy = torch.stack(entropies).mean().detach()
        return torch.stack(terms).sum() / pairs, {
            "teacher_entropy": entropy,
            "teacher_entropy_share": entropy / math.log(self.center.shape[1]),
        }

    @torch.no_grad()
    def update(self, teacher: Mapping[int, Tensor]) -> None:
        """Move the centre towards the mean of the teacher's outputs of all processes."""
        batch = torch.cat([output.float() for output in teacher.values()])
        mean = mean_over_processes(batch.mean(dim=0, keepdim=True))
        self.center.lerp_(mean, 1 - self.center_momentum)
