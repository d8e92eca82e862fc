"""The models of recipes for images of 32 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[3]
METHODS = ("random", "mae", "lomar", "mocov3", "repre-mocov3", "dino", "mtssl")
MEAN, STD = (0.491, 0.482, 0.447), (0.247, 0.244, 0.262)
WIDTH, HEADS, PATCH, SIZE = 192, 3, 4, 32
HIDDEN, EMBEDDING, PROTOTYPES = 512, 128, 4096
MTSSL = ROOT / "configs/mtssl/cifar10/mtssl_vit-tiny-p4_1xb64-5k_cifar10.py"
BASES = {"random": "mae", "repre-mocov3": "mocov3"}  # whose recipe it is


@dataclass(frozen=True)
class Crop:
    """A view of an image.

    Attributes:
        side: pixels.
        low, high: least and greatest share of the image's area.
    """

    side: int = SIZE
    low: float = 0.2
    high: float = 1.0


DINO_CROPS = [Crop(SIZE, 0.4, 1.0)] * 2 + [Crop(SIZE // 2, 0.1, 0.4)] * 4


def _masked(tasks: Any, method: str) -> None:
    if method == "lomar":
        tasks.masked.masking.update(window=5, views=2)
    else:
        tasks.masked.neck.update(width=128, depth=2, num_heads=4)


def _contrastive(tasks: Any) -> None:
    tasks.contrastive.projector.update(hidden_channels=HIDDEN, out_channels=EMBEDDING)
    tasks.contrastive.predictor.hidden_channels = HIDDEN


def _reconstruction(model: Any, depth: int) -> None:
    """RePre's decoder on four levels of the encoder, fewer where it has fewer blocks."""
    model.tasks.reconstruction = dict(
        type="Reconstruction",
        levels=min(depth, 4),
        neck=dict(type="MultiHierarchyFusion", width=64),
        head=dict(type="PixelLoss", distance="l1"),
    )
    likelihoods = dict(contrastive="classification", reconstruction="laplace")
    model.balancer = dict(type="UncertaintyWeights", likelihoods=likelihoods)


def _dino(model: Any) -> None:
    task = model.tasks.distillation
    task.local_views = tuple(range(2, len(DINO_CROPS)))
    task.projector.update(
        prototypes=PROTOTYPES, hidden_channels=HIDDEN, bottleneck=EMBEDDING
    )
    model.target.momentum = 0.99  # for thousands of steps, not hundreds of thousands


def _colours(views: int) -> dict[str, Any]:
    """Colour augmentation on the device."""
    jitter = dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8)
    transforms = [jitter, dict(type="RandomGrayscale", p=0.2)]
    return dict(type="DeviceAugment", views=[dict(transforms=transforms, num=views)])


def model_config(method: str, depth: int) -> tuple[Any, list[Crop]]:
    """A recipe's model as a ViT/4 for images of 32 pixels, and the views it is trained on.

    Args:
        method: one of :data:`METHODS`.
        depth: blocks of the encoder.
    """
    base = f"configs/_base_/models/{BASES.get(method, method)}_vit.py"
    model = Config.fromfile(MTSSL if method == "mtssl" else ROOT / base).model
    arch = dict(embed_dim=WIDTH, depth=depth, num_heads=HEADS)
    model.encoder.update(arch=arch, image_size=SIZE, patch_size=PATCH, drop_path=0.0)
    model.data_preprocessor = dict(type="ViewPreprocessor", mean=MEAN, std=STD)
    if method in ("random", "mae", "lomar"):
        _masked(model.tasks, method)
        return model, [Crop()]
    crops = DINO_CROPS if method == "dino" else [Crop()] * 2
    if method in ("mocov3", "repre-mocov3"):
        _contrastive(model.tasks)
    if method == "repre-mocov3":
        _reconstruction(model, depth)
    if method == "dino":
        _dino(model)
    model.data_preprocessor["augment"] = _colours(len(crops))
    return model, crops
