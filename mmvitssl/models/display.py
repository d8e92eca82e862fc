"""Images of any number of channels as RGB, for pictures."""

from __future__ import annotations

import torch
from torch import Tensor


def displayed(picture: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 3, H, W): grey is repeated; of more than three, the first three.

    Two channels are shown as red and green.
    """
    channels = picture.shape[1]
    if channels == 1:
        return picture.expand(-1, 3, -1, -1)
    if channels == 2:
        return torch.cat([picture, torch.zeros_like(picture[:, :1])], dim=1)
    return picture[:, :3]
