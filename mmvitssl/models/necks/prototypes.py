"""DINO's projection head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from mmvitssl.models.necks.mlp import unit
from mmvitssl.registry import MODELS


class NormalisedLinear(nn.Module):
    """Linear layer whose rows are directions ``weight_v`` of lengths ``weight_g``.

    The names are those of torch's weight normalisation, as in the official checkpoints.
    """

    def __init__(self, inputs: int, outputs: int, fixed_lengths: bool) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(outputs, 1), requires_grad=not fixed_lengths)
        self.weight_v = nn.Parameter(torch.empty(outputs, inputs))
        init.kaiming_uniform_(self.weight_v, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        return F.linear(x, torch._weight_norm(self.weight_v, self.weight_g, 0))


@MODELS.register_module()
class PrototypeMLP(nn.Module):
    """MLP to a bottleneck, L2 norm, and similarities to K prototypes (DINO, section 3.1).

    Args:
        in_channels: the encoder's width.
        prototypes: K.
        hidden_channels: width of the hidden layers.
        bottleneck: width before the prototypes.
        num_layers: linear layers of the MLP.
        fixed_lengths: whether prototypes keep length 1 (DINO's norm_last_layer).
    """

    def __init__(
        self,
        in_channels: int,
        prototypes: int = 65536,
        hidden_channels: int = 2048,
        bottleneck: int = 256,
        num_layers: int = 3,
        fixed_lengths: bool = True,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"PrototypeMLP.num_layers must be at least 1, not {num_layers}.")
        self.in_channels, self.out_channels = in_channels, prototypes
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), bottleneck]
        layers: list[nn.Module] = []
        for i in range(num_layers):
            layers += [nn.Linear(widths[i], widths[i + 1]), nn.GELU()]
        self.mlp = nn.Sequential(*layers[:-1])
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                init.trunc_normal_(module.weight, std=0.02)
                init.zeros_(module.bias)
        self.last_layer = NormalisedLinear(bottleneck, prototypes, fixed_lengths)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels) -> (B, K)."""
        return self.last_layer(unit(self.mlp(features)))
