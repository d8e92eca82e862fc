"""Between token sequences and feature maps."""

from torch import Tensor


def tokens_to_map(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, h*w, C) tokens in raster order -> contiguous (B, C, h, w); a map passes unchanged.

    Contiguous, because a reshaped view would have channels-last strides: convolutions would keep
    them, and mmcv's RoIAlign on CPUs reads such maps wrongly without saying so.

    Raises:
        ValueError: another number of tokens than the grid has patches.
    """
    if features.dim() == 4:
        return features
    batch, tokens, channels = features.shape
    if tokens != grid[0] * grid[1]:
        raise ValueError(f"{tokens} tokens do not fill a grid of {grid[0]}x{grid[1]} patches.")
    return features.transpose(1, 2).reshape(batch, channels, *grid).contiguous()
