"""Optimizers, their wrappers and parameter groups."""

from mmvitssl.engine.optim.autocast import AutocastOptimWrapper
from mmvitssl.engine.optim.groups import GroupedOptimWrapperConstructor
from mmvitssl.engine.optim.lars import LARS
from mmvitssl.engine.optim.layer_decay import LayerDecayOptimWrapperConstructor
from mmvitssl.engine.optim.schedulers import CosineAnnealingLR, LinearLR

__all__ = [
    "LARS",
    "AutocastOptimWrapper",
    "CosineAnnealingLR",
    "GroupedOptimWrapperConstructor",
    "LayerDecayOptimWrapperConstructor",
    "LinearLR",
]
