"""The slowly moving copy of the online branch."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from mmvitssl.arguments import check_choice, check_drop_path
from mmvitssl.registry import MODELS

SCHEDULES = ("cosine", "linear", "constant")
WHEN = ("before_forward", "after_forward", "after_step")
BUFFERS = ("own", "copy")


@MODELS.register_module()
class MomentumTarget(nn.Module):
    """Exponential moving average of online modules: the momentum encoder and projectors.

    Args:
        online: the modules to follow, by name: the Pretrainer passes the encoder and what its
            tasks ask for.
        momentum: weight of the old target at the start; MoCo v3: 0.99.
        end: weight at the end of training.
        schedule: from ``momentum`` to ``end`` along half a cosine ('cosine') or a line ('linear',
            I-JEPA), or 'constant'.
        when: 'before_forward' (MoCo v3, MoBY: keys come from weights that have moved),
            'after_forward' (the first release of CAE: it follows the weights before the step) or
            'after_step' (DINO, BYOL).
        buffers: batch-norm statistics: 'own' (the target's forward makes its own, as published)
            or 'copy' (taken from the online module at each update).
        drop_path: rate of stochastic depth in the target (DINO, MoBY: 0); None: as online.

    Raises:
        ValueError: an unknown option or a momentum outside [0, 1].
    """

    updates: Tensor
    last_momentum: Tensor

    def __init__(
        self,
        online: Mapping[str, nn.Module],
        momentum: float = 0.99,
        end: float = 1.0,
        schedule: str = "cosine",
        when: str = "before_forward",
        buffers: str = "own",
        drop_path: float | None = None,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("schedule", schedule, SCHEDULES),
            ("when", when, WHEN),
            ("buffers", buffers, BUFFERS),
        ):
            check_choice(f"MomentumTarget.{name}", value, known)
        if drop_path is not None:
            check_drop_path("MomentumTarget.drop_path", drop_path)
        if not 0 <= momentum <= 1 or not 0 <= end <= 1:
            raise ValueError(f"MomentumTarget needs momenta in [0, 1]: {momentum}, {end}.")
        self.start, self.end, self.schedule = momentum, end, schedule
        self.when, self.copies_buffers = when, buffers == "copy"
        self.modules_by_name = nn.ModuleDict(
            {name: copy.deepcopy(module) for name, module in online.items()}
        )
        self.modules_by_name.requires_grad_(False)
        if drop_path is not None:
            for module in self.modules_by_name.modules():
                if isinstance(module, DropPath):
                    module.drop_prob = drop_path
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self.register_buffer("last_momentum", torch.tensor(float(momentum)))

    def __getitem__(self, name: str) -> nn.Module:
        return self.modules_by_name[name]

    def momentum_at(self, progress: float) -> float:
        """Momentum after the fraction ``progress`` in [0, 1] of training."""
        if self.schedule == "constant":
            return self.start
        progress = min(max(progress, 0.0), 1.0)
        linear = self.schedule == "linear"
        share = 1 - progress if linear else 0.5 * (1 + math.cos(math.pi * progress))
        return self.end - (self.end - self.start) * share

    @torch.no_grad()
    def update(self, online: Mapping[str, nn.Module], progress: float) -> float:
        """Move towards the online modules; returns the momentum used."""
        momentum = self.momentum_at(progress)
        followers: list[Tensor] = []
        leaders: list[Tensor] = []
        for name, module in self.modules_by_name.items():
            followers += list(module.parameters())
            leaders += list(online[name].parameters())
        torch._foreach_lerp_(followers, leaders, 1.0 - momentum)
        if self.copies_buffers:
            for name, module in self.modules_by_name.items():
                for mine, theirs in zip(module.buffers(), online[name].buffers(), strict=True):
                    mine.copy_(theirs)
        self.updates += 1
        self.last_momentum.fill_(momentum)
        return momentum

    def extra_repr(self) -> str:
        return f"{self.start} -> {self.end} ({self.schedule}), {self.when}"


def as_config(target: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with MomentumTarget as its default type."""
    return {"type": "MomentumTarget", **target}
