"""Augmentation of whole batches on the device: mixup, cutmix and random erasing."""

from __future__ import annotations

import torch
from timm.data import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from mmvitssl.randomness import all_seeded
from mmvitssl.registry import MODELS


@MODELS.register_module()
class BatchAugment:
    """timm's random erasing, mixup and cutmix, in this order, from a seed a batch.

    Args:
        num_classes: width of the mixed labels; :class:`ImageClassifier` fills it in.
        mixup: alpha of mixup's Beta distribution; 0: no mixup.
        cutmix: alpha of cutmix's; 0: no cutmix.
        prob: how often a batch is mixed.
        switch_prob: how often by cutmix where both are possible.
        erasing: probability that a rectangle of an image becomes noise.

    Raises:
        ValueError: a number outside its range.
    """

    def __init__(
        self,
        num_classes: int,
        mixup: float = 0.8,
        cutmix: float = 1.0,
        prob: float = 1.0,
        switch_prob: float = 0.5,
        erasing: float = 0.25,
    ) -> None:
        shares = {"prob": prob, "switch_prob": switch_prob, "erasing": erasing}
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise ValueError(f"BatchAugment.{name}={value} must lie in [0, 1].")
        if mixup < 0 or cutmix < 0:
            raise ValueError(f"BatchAugment needs mixup and cutmix >= 0: {mixup} and {cutmix}.")
        self.mixes = mixup > 0 or cutmix > 0
        self.erasing = erasing
        self._mixup = Mixup(
            mixup, cutmix, prob=prob, switch_prob=switch_prob, label_smoothing=0.0,
            num_classes=num_classes,
        )  # fmt: skip

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: (B, 3, H, W), normalised; they are left as they are.
            labels: (B,) long.
            seed: the same seed and batch give the same result.

        Returns:
            (B, 3, H, W) images; (B,) labels, or (B, num_classes) shares where batches are mixed.

        Raises:
            ValueError: an odd number of images, which cannot be mixed in pairs.
        """
        if self.mixes and len(images) % 2:
            raise ValueError(
                f"Mixup pairs the images of a batch, and this one has {len(images)}: use an even "
                f"batch_size, and drop_last=True."
            )
        images = images.clone()
        with all_seeded(seed, images.device):
            if self.erasing:
                erase = RandomErasing(self.erasing, mode="pixel", device=str(images.device))
                images = erase(images)
            return self._mixup(images, labels) if self.mixes else (images, labels)
