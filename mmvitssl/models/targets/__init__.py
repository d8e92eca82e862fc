"""What predictions are compared with."""

from mmvitssl.models.targets.momentum import MomentumTarget
from mmvitssl.models.targets.pixels import PixelTarget
from mmvitssl.models.targets.tokens import TokenTarget

__all__ = ["MomentumTarget", "PixelTarget", "TokenTarget"]
