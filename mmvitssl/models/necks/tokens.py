"""Between token sequences and feature maps."""

from torch import Tensor


def tokens_to_map(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, h*w, C) tokens in raster order -> (B, C, h, w); a map passes unchanged."""
    if features.dim() == 4:
        return features
    batch, tokens, channels = features.shape
    if tokens != grid[0] * grid[1]:
        raise ValueError(f"{tokens} tokens do not fill a grid of {grid[0]}x{grid[1]} patches.")
    return features.transpose(1, 2).reshape(batch, channels, *grid)
