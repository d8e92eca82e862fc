"""Unlabelled images, view pipelines and the sampler; importing this registers all of them."""

from mmvitssl.datasets.collate import collate_views
from mmvitssl.datasets.images import ImageFolder, ImageList
from mmvitssl.datasets.multiview import LoadImage, MultiView, PackViews
from mmvitssl.datasets.packed import PackedImages
from mmvitssl.datasets.sampler import EpochSampler, SampleKey
from mmvitssl.datasets.transforms import (
    CenterCrop,
    ColorJitter,
    GaussianBlur,
    RandomFlip,
    RandomGrayscale,
    RandomResizedCrop,
    Resize,
    Solarize,
)

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "EpochSampler",
    "GaussianBlur",
    "ImageFolder",
    "ImageList",
    "LoadImage",
    "MultiView",
    "PackViews",
    "PackedImages",
    "RandomFlip",
    "RandomGrayscale",
    "RandomResizedCrop",
    "Resize",
    "SampleKey",
    "Solarize",
    "collate_views",
]
