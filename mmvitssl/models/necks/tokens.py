"""Between token sequences and feature maps."""

from torch import Tensor


def tokens_to_map(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """View (B, h*w, C) tokens in raster order as a map (B, C, h, w); a map passes unchanged.

    Its strides are channels-last, which convolutions keep and are faster with. mmcv's RoIAlign on
    CPUs reads such maps wrongly without saying so: what goes to detectors must be made contiguous.

    Raises:
        ValueError: another number of tokens than the grid has patches.
    """
    if features.dim() == 4:
        return features
    tokens = features.shape[1]
    if tokens != grid[0] * grid[1]:
        raise ValueError(f"{tokens} tokens do not fill a grid of {grid[0]}x{grid[1]} patches.")
    return features.transpose(1, 2).unflatten(2, grid)
