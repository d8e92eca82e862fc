"""Encoders."""

from mmvitssl.models.backbones.dense import DenseFeatures
from mmvitssl.models.backbones.swin import SwinTransformer
from mmvitssl.models.backbones.vit import ViT

__all__ = ["DenseFeatures", "SwinTransformer", "ViT"]
