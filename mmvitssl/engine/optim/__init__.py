"""Optimizers, their wrappers and parameter groups."""

from timm.optim import Lars

from mmvitssl.engine.optim.autocast import AutocastOptimWrapper
from mmvitssl.engine.optim.layer_decay import LayerDecayOptimWrapperConstructor
from mmvitssl.registry import OPTIMIZERS

# timm's: the trust ratio counts for groups with weight decay only, so that biases and norms, which
# have none, take plain steps, as SimCLR and BYOL do
OPTIMIZERS.register_module(name="LARS", module=Lars)

__all__ = ["AutocastOptimWrapper", "LayerDecayOptimWrapperConstructor"]
