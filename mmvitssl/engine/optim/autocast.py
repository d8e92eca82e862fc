"""Mixed precision without loss scaling, on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from mmvitssl.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """bfloat16 autocast; its range is that of float32, so that no loss scaling is needed.

    MMEngine's ``AmpOptimWrapper`` always builds a gradient scaler and refuses CPUs.

    Args:
        kwargs: see :class:`mmengine.optim.OptimWrapper`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.device_type = get_device()

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The forward pass and the losses of a training step run in here."""
        with (
            super().optim_context(model),
            torch.autocast(self.device_type, dtype=torch.bfloat16),
        ):
            yield
