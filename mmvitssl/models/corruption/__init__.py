"""Patch-level corruption: every task alters patches of its own, of one view, in one pass."""

from mmvitssl.models.corruption.allocate import Assigned, Need, allocate
from mmvitssl.models.corruption.harmonise import harmonise

__all__ = ["Assigned", "Need", "allocate", "harmonise"]
