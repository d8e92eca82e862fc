"""LARS as linear probes need it."""

from __future__ import annotations

from typing import Any

from timm.optim import Lars
from torch import Tensor

from mmvitssl.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class LARS(Lars):
    """timm's LARS, whose ``always_adapt`` leaves biases and norms out.

    The trust ratio counts for groups with weight decay only; biases and norms, which have none,
    take plain steps, as in SimCLR and BYOL. Linear probes have no weight decay at all, and with
    ``always_adapt=True`` their matrices still have the trust ratio and their biases plain steps,
    as in MAE's optimizer.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Put parameters of one dimension into a group of their own where it matters."""
        adapt = param_group.get("always_adapt", self.defaults["always_adapt"])
        given = param_group["params"]
        parameters = [given] if isinstance(given, Tensor) else list(given)
        flat = [parameter for parameter in parameters if parameter.ndim <= 1] if adapt else []
        matrices = [parameter for parameter in parameters if parameter.ndim > 1 or not adapt]
        for chosen, adapted in ((matrices, adapt), (flat, False)):
            if chosen:
                group = {**param_group, "params": chosen, "always_adapt": adapted}
                super().add_param_group(group)
