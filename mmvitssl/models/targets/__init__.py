"""What predictions are compared with."""

from mmvitssl.models.targets.momentum import MomentumTarget

__all__ = ["MomentumTarget"]
