"""Modules between encoder and heads: tensors in, tensors out, no losses."""

from mmvitssl.models.necks.fusion import MultiHierarchyFusion
from mmvitssl.models.necks.mlp import ProjectionMLP

__all__ = ["MultiHierarchyFusion", "ProjectionMLP"]
