"""Pretraining algorithms."""

from mmvitssl.models.algorithms.pretrainer import Pretrainer

__all__ = ["Pretrainer"]
