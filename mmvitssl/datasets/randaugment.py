"""timm's RandAugment, drawn from the sample's own generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.transforms import str_to_pil_interp

from mmvitssl.datasets.transforms import Picture, Size, _size
from mmvitssl.randomness import seeded
from mmvitssl.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandAugment:
    """Random operations of random strength (Cubuk et al., 2020), as fine-tuning recipes use them.

    Args:
        policy: as timm writes it: magnitude 9 of 10 with deviation 0.5, operations that grow
            stronger with the magnitude.
        size: of the image, in pixels (None: the encoder's ``image_size``); translations are at most
            0.45 of its shorter side.
        mean: colour of what operations leave empty, in [0, 1].
        interpolation: 'bilinear', 'bicubic', ...
        of_image: ``size`` as a share of the encoder's image size.

    Raises:
        ValueError: an unknown policy.
    """

    def __init__(
        self,
        policy: str = "rand-m9-mstd0.5-inc1",
        size: Size | None = None,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        interpolation: str = "bicubic",
        of_image: float | None = None,
    ) -> None:
        settings = dict(
            translate_const=int(min(_size("RandAugment", size)) * 0.45),
            img_mean=tuple(min(255, round(255 * value)) for value in mean),
            interpolation=str_to_pil_interp(interpolation),
        )
        try:
            self.transform = rand_augment_transform(policy, settings)
        except (AssertionError, ValueError) as error:
            raise ValueError(
                f"RandAugment.policy='{policy}' is none of timm's, such as 'rand-m9-mstd0.5-inc1'."
            ) from error

    def __call__(self, image: Picture, rng: np.random.Generator) -> Picture:
        """PIL images, or (H, W, 3) uint8 arrays, on which timm's operations are Pillow's too.

        Raises:
            ValueError: images that are not RGB.
        """
        channels = len(image.getbands()) if isinstance(image, Image.Image) else image.shape[2]
        if channels != 3:
            raise ValueError(
                f"RandAugment needs RGB images; these have {channels} channels: take it out of the "
                f"pipeline, or set LoadImage.channels=3 for grey files."
            )
        seed = int(rng.integers(2**32))
        with seeded(seed):  # timm draws from the global generators
            if isinstance(image, np.ndarray):
                return np.asarray(self.transform(Image.fromarray(image)))
            return self.transform(image)
