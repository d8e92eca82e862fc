"""What predictions are compared with."""

from mmvitssl.models.targets.base import Target
from mmvitssl.models.targets.frozen import FrozenTarget
from mmvitssl.models.targets.hog import HOGTarget
from mmvitssl.models.targets.latent import FeatureTarget, PrototypeTarget
from mmvitssl.models.targets.momentum import MomentumTarget
from mmvitssl.models.targets.pixels import PixelTarget
from mmvitssl.models.targets.tokens import TokenTarget

__all__ = [
    "FeatureTarget",
    "FrozenTarget",
    "HOGTarget",
    "MomentumTarget",
    "PixelTarget",
    "PrototypeTarget",
    "Target",
    "TokenTarget",
]
