"""Distributions over prototypes: the teacher's, kept from collapse, and the loss against them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmvitssl.arguments import check_choice
from mmvitssl.distributed import sum_over_processes
from mmvitssl.models.heads.contrastive import check_temperature
from mmvitssl.registry import MODELS

CENTERINGS = ("softmax", "sinkhorn_knopp")


@torch.no_grad()
def sinkhorn_knopp(logits: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Assign samples to prototypes, used equally (SwAV; DINOv2 in place of a centre).

    Args:
        logits: (S, K) of this process; all processes' samples are balanced together.
        temperature: of the exponential.
        iterations: of normalising prototypes, then samples.

    Returns:
        (S, K), rows sum to 1.
    """
    # without a maximum: it would have to be that of all processes; unit vectors stay finite
    scores = (logits.float() / temperature).exp().t()  # K, S
    samples = sum_over_processes(scores.new_tensor(float(scores.shape[1])))
    scores = scores / sum_over_processes(scores.sum())
    for _ in range(iterations):
        scores = scores / sum_over_processes(scores.sum(dim=1, keepdim=True)) / len(scores)
        scores = scores / scores.sum(dim=0, keepdim=True) / samples
    return (scores * samples).t()


class TeacherDistribution(nn.Module):
    """Centred, sharpened distributions of a teacher (DINO, section 3.1).

    Args:
        prototypes: K.
        teacher_temperature: of the softmax, after the warm-up.
        warmup_temperature: at the start.
        warmup_epochs: epochs over which it rises linearly, in steps of one epoch.
        warmup_iters: iterations over which it rises linearly, in place of epochs (DINOv2).
        warmup_start: epoch in which the rise begins (iBOT: where patches are predicted late).
        centering: 'softmax' (minus a moving centre) or 'sinkhorn_knopp' (DINOv2).
        center_momentum: weight of the old centre at its update.

    Raises:
        ValueError: a temperature that is not positive, a momentum outside [0, 1], or an unknown
            centering.
    """

    center: Tensor

    def __init__(
        self,
        prototypes: int,
        teacher_temperature: float = 0.04,
        warmup_temperature: float = 0.04,
        warmup_epochs: float = 0,
        warmup_iters: int = 0,
        warmup_start: int = 0,
        centering: str = "softmax",
        center_momentum: float = 0.9,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for value in (teacher_temperature, warmup_temperature):
            check_temperature(self, value)
        if not 0 <= center_momentum <= 1:
            raise ValueError(f"{name}.center_momentum={center_momentum} must lie in [0, 1].")
        check_choice(f"{name}.centering", centering, CENTERINGS)
        if warmup_epochs and warmup_iters:
            raise ValueError(f"{name}: give warmup_epochs or warmup_iters, not both.")
        self.teacher_temperature, self.warmup_temperature = teacher_temperature, warmup_temperature
        self.warmup_epochs, self.warmup_iters = warmup_epochs, warmup_iters
        self.warmup_start, self.centering = warmup_start, centering
        self.center_momentum = center_momentum
        self.register_buffer("center", torch.zeros(1, prototypes))

    @property
    def prototypes(self) -> int:
        """K."""
        return self.center.shape[1]

    def temperature_at(self, epoch: int, iteration: int = 0) -> float:
        """The teacher's temperature: linear over the warm-up, both ends included."""
        done, length = epoch - self.warmup_start, self.warmup_epochs
        if self.warmup_iters:
            done, length = iteration, self.warmup_iters
        if done >= length:
            return self.teacher_temperature
        share = max(done, 0) / max(length - 1, 1)
        rise = self.teacher_temperature - self.warmup_temperature
        return self.warmup_temperature + share * rise

    @torch.no_grad()
    def probabilities(self, logits: Tensor, temperature: float) -> Tensor:
        """(S, K) logits -> (S, K) distributions, in float32."""
        if self.centering == "sinkhorn_knopp":
            return sinkhorn_knopp(logits, temperature)
        return ((logits.float() - self.center) / temperature).softmax(dim=-1)

    @torch.no_grad()
    def move_center(self, logits: Tensor) -> None:
        """Move the centre towards the mean of (S, K) logits of all processes."""
        if self.centering == "sinkhorn_knopp":
            return
        number = sum_over_processes(self.center.new_full((), float(len(logits))))
        total = sum_over_processes(logits.float().sum(dim=0, keepdim=True))
        moved = torch.lerp(self.center, total / number.clamp(min=1), 1 - self.center_momentum)
        self.center.copy_(torch.where(number > 0, moved, self.center))


def entropy_metrics(probabilities: Tensor) -> dict[str, Tensor]:
    """Compute the entropy of (S, K) distributions: 0 where they have collapsed to one prototype."""
    entropies = -(probabilities * probabilities.clamp(min=1e-12).log()).sum(dim=-1)
    entropy = entropies.sum() / max(len(entropies), 1)
    share = entropy / math.log(probabilities.shape[1])
    return {"teacher_entropy": entropy, "teacher_entropy_share": share}


@MODELS.register_module()
class DistributionLoss(nn.Module):
    """Cross-entropy of predicted logits and a distribution (iBOT, section 3.1).

    Args:
        student_temperature: of the softmax of the predictions.
    """

    def __init__(self, student_temperature: float = 0.1) -> None:
        super().__init__()
        check_temperature(self, student_temperature)
        self.student_temperature = student_temperature

    def forward(self, prediction: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        """Compare.

        Args:
            prediction: (T, K) logits.
            target: (T, K) distributions.
            weights: (T,) of the patches in the sum; None: the mean.

        Returns:
            scalar.
        """
        logs = (prediction.float() / self.student_temperature).log_softmax(dim=-1)
        losses = -(target * logs).sum(dim=-1)
        return losses.mean() if weights is None else (losses * weights).sum()

    @torch.no_grad()
    def metrics(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Entropy of the targets, and the share of patches with the teacher's first prototype."""
        agreement = (prediction.argmax(dim=-1) == target.argmax(dim=-1)).float()
        return {
            "agreement": agreement.sum() / max(len(agreement), 1),
            **entropy_metrics(target),
        }
