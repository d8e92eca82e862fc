"""Modules between encoder and heads: tensors in, tensors out, no losses."""

from mmvitssl.models.necks.context import ContextDecoder, ContextRegressor, LatentProjection
from mmvitssl.models.necks.fusion import MultiHierarchyFusion
from mmvitssl.models.necks.latent import BlockPredictor, PatchProjector
from mmvitssl.models.necks.mae_decoder import MAEDecoder
from mmvitssl.models.necks.mlp import ProjectionMLP
from mmvitssl.models.necks.predictor import TokenPredictor
from mmvitssl.models.necks.prototypes import PrototypeMLP
from mmvitssl.models.necks.pyramid import ScalePyramid, SimpleFeaturePyramid

__all__ = [
    "BlockPredictor",
    "ContextDecoder",
    "ContextRegressor",
    "LatentProjection",
    "MAEDecoder",
    "MultiHierarchyFusion",
    "PatchProjector",
    "ProjectionMLP",
    "PrototypeMLP",
    "ScalePyramid",
    "SimpleFeaturePyramid",
    "TokenPredictor",
]
