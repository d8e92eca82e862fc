"""Learning-rate schedules of the papers' official codes, as formulas of the step.

MMEngine's schedulers compute each value from the one before, which cannot start from 0, and know
one convention of where a warm-up ends. These have MMEngine's names and options, and the others.
Parameter groups with ``fix_lr=True`` (in ``custom_keys``) keep their value: SimSiam's predictor.
"""

from __future__ import annotations

import math
from typing import Any

from mmengine.optim.scheduler import CosineAnnealingLR as MMEngineCosineAnnealingLR
from mmengine.optim.scheduler import LinearLR as MMEngineLinearLR

from mmvitssl.registry import PARAM_SCHEDULERS


def _but_fixed(scheduler: Any, values: list[float]) -> list[float]:
    """The values, and the first one of each group whose ``fix_lr`` is set."""
    groups = scheduler.optimizer.param_groups
    return [
        base if group.get("fix_lr") else value
        for group, base, value in zip(groups, scheduler.base_values, values, strict=True)
    ]


@PARAM_SCHEDULERS.register_module()
class LinearLR(MMEngineLinearLR):
    """Warm-up: the rate times ``start_factor`` rises linearly to the rate itself.

    Args:
        inclusive: whether the last step of the warm-up has the full rate (DINO, CAE, BEiT, as
            MMEngine), or the first step after it (MAE, LoMaR, MoCo v3, MoBY).
        lag: steps by which the schedule is late (MoBY sets the rate after the step: 1).
        args, kwargs: see :class:`mmengine.optim.LinearLR`.
    """

    def __init__(self, *args: Any, inclusive: bool = True, lag: int = 0, **kwargs: Any) -> None:
        self.inclusive, self.lag = inclusive, lag
        super().__init__(*args, **{**kwargs, "end": kwargs.get("end", math.inf) + lag})

    def _get_value(self) -> list[float]:
        step = max(self._global_step - self.lag, self.begin) - self.begin
        length = self.end - self.lag - self.begin - int(self.inclusive)
        share = min(step / length, 1.0) if length > 0 else 1.0
        if self.inclusive and length <= 0:
            share = 0.0  # a warm-up of one step is at its start
        factor = self.start_factor + (self.end_factor - self.start_factor) * share
        return _but_fixed(self, [value * factor for value in self.base_values])


@PARAM_SCHEDULERS.register_module()
class CosineAnnealingLR(MMEngineCosineAnnealingLR):
    """Half a cosine from the rate to ``eta_min``.

    Args:
        whole: whether the cosine counts from the start of the training, and the part before
            ``begin`` is left out (MoBY), or from ``begin``.
        lag: steps by which the schedule is late; see :class:`LinearLR`.
        args, kwargs: see :class:`mmengine.optim.CosineAnnealingLR`.
    """

    def __init__(self, *args: Any, whole: bool = False, lag: int = 0, **kwargs: Any) -> None:
        self.whole, self.lag = whole, lag
        begin, end = kwargs.pop("begin", 0), kwargs.get("end", math.inf)
        kwargs["T_max"] = kwargs.get("T_max") or end - begin
        super().__init__(*args, begin=begin + lag, **kwargs)

    def _get_value(self) -> list[float]:
        step = self._global_step - self.lag
        length = self.T_max
        if self.whole:
            length += self.begin - self.lag
        else:
            step -= self.begin - self.lag
        share = 0.5 * (1 + math.cos(math.pi * step / length))
        ends = self.base_values if self.eta_min is None else [self.eta_min] * len(self.base_values)
        if self.eta_min is None:
            ends = [value * self.eta_min_ratio for value in self.base_values]
        values = zip(self.base_values, ends, strict=True)
        return _but_fixed(self, [end + (value - end) * share for value, end in values])
