"""Metrics."""

from mmvitssl.evaluation.pretext import PretextMetric

__all__ = ["PretextMetric"]
