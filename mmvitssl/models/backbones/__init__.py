"""Encoders."""

from mmvitssl.models.backbones.dense import DenseFeatures
from mmvitssl.models.backbones.swin import SwinTransformer
from mmvitssl.models.backbones.timm_model import TimmBackbone
from mmvitssl.models.backbones.vit import ViT
from mmvitssl.models.backbones.windowed import WindowedFeatures

__all__ = ["DenseFeatures", "SwinTransformer", "TimmBackbone", "ViT", "WindowedFeatures"]
