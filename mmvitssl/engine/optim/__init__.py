"""Optimizer wrappers and parameter groups."""

from mmvitssl.engine.optim.autocast import AutocastOptimWrapper
from mmvitssl.engine.optim.layer_decay import LayerDecayOptimWrapperConstructor

__all__ = ["AutocastOptimWrapper", "LayerDecayOptimWrapperConstructor"]
