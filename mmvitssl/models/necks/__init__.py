"""Modules between encoder and heads: tensors in, tensors out, no losses."""

from mmvitssl.models.necks.fusion import MultiHierarchyFusion
from mmvitssl.models.necks.mlp import ProjectionMLP
from mmvitssl.models.necks.pyramid import ScalePyramid, SimpleFeaturePyramid

__all__ = ["MultiHierarchyFusion", "ProjectionMLP", "ScalePyramid", "SimpleFeaturePyramid"]
