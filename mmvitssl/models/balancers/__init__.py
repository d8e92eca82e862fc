"""Weights of losses."""

from mmvitssl.models.balancers.fixed import FixedWeights
from mmvitssl.models.balancers.pareto import ParetoWeights
from mmvitssl.models.balancers.uncertainty import UncertaintyWeights

__all__ = ["FixedWeights", "ParetoWeights", "UncertaintyWeights"]
