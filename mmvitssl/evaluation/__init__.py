"""Metrics."""

from mmvitssl.evaluation.accuracy import ClassAccuracy
from mmvitssl.evaluation.pretext import PretextMetric

__all__ = ["ClassAccuracy", "PretextMetric"]
