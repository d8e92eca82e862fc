"""Which patches are masked: ``(grid, batch, generator) -> TokenPlan``."""

from mmvitssl.models.masking.base import FeatureMasking, GivenMasking, Masking
from mmvitssl.models.masking.block import BlockMasking, MixedRatioMasking, StratifiedMasking
from mmvitssl.models.masking.multiblock import MultiBlockMasking
from mmvitssl.models.masking.random import RandomMasking
from mmvitssl.models.masking.window import WindowMasking

__all__ = [
    "BlockMasking",
    "FeatureMasking",
    "GivenMasking",
    "Masking",
    "MixedRatioMasking",
    "MultiBlockMasking",
    "RandomMasking",
    "StratifiedMasking",
    "WindowMasking",
]
