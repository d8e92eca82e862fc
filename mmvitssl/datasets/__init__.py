"""Images with and without labels, view pipelines and the sampler; importing registers them."""

from mmvitssl.datasets.archives import ImageArchive
from mmvitssl.datasets.cached import CachedFeatures
from mmvitssl.datasets.collate import collate_views
from mmvitssl.datasets.images import ImageFolder, ImageList
from mmvitssl.datasets.labelled import LabelledFolder, LabelSubset
from mmvitssl.datasets.multiview import LoadImage, MultiView, PackViews
from mmvitssl.datasets.packed import PackedImages
from mmvitssl.datasets.randaugment import RandAugment
from mmvitssl.datasets.resident import ResidentImages
from mmvitssl.datasets.sampler import EpochSampler, SampleKey
from mmvitssl.datasets.shards import ShardedImages
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
    "CachedFeatures",
    "CenterCrop",
    "ColorJitter",
    "EpochSampler",
    "GaussianBlur",
    "ImageArchive",
    "ImageFolder",
    "ImageList",
    "LabelSubset",
    "LabelledFolder",
    "LoadImage",
    "MultiView",
    "PackViews",
    "PackedImages",
    "RandAugment",
    "RandomFlip",
    "RandomGrayscale",
    "RandomResizedCrop",
    "ResidentImages",
    "Resize",
    "SampleKey",
    "ShardedImages",
    "Solarize",
    "collate_views",
]
