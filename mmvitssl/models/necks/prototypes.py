"""DINO's projection head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from mmvitssl.arguments import check_choice
from mmvitssl.models.necks.mlp import SyncBatchNorm1d, unit
from mmvitssl.registry import MODELS

ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU}


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
        patch_prototypes: prototypes of patches, with a last layer of their own (iBOT's separate
            heads); None: patches share the last layer.
        activation: 'gelu' or 'relu'.
        norm: batch norm (over all processes) after each hidden layer (DINO's use_bn_in_head).
    """

    def __init__(
        self,
        in_channels: int,
        prototypes: int = 65536,
        hidden_channels: int = 2048,
        bottleneck: int = 256,
        num_layers: int = 3,
        fixed_lengths: bool = True,
        patch_prototypes: int | None = None,
        activation: str = "gelu",
        norm: bool = False,
    ) -> None:
        super().__init__()
        check_choice("PrototypeMLP.activation", activation, ACTIVATIONS)
        if num_layers < 1:
            raise ValueError(f"PrototypeMLP.num_layers must be at least 1, not {num_layers}.")
        self.in_channels, self.out_channels = in_channels, prototypes
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), bottleneck]
        layers: list[nn.Module] = []
        for i in range(num_layers):
            layers.append(nn.Linear(widths[i], widths[i + 1]))
            if i < num_layers - 1:
                layers += [SyncBatchNorm1d(widths[i + 1])] if norm else []
                layers.append(ACTIVATIONS[activation]())
        self.mlp = nn.Sequential(*layers)
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                init.trunc_normal_(module.weight, std=0.02)
                init.zeros_(module.bias)
        self.last_layer = NormalisedLinear(bottleneck, prototypes, fixed_lengths)
        self.patch_layer = None
        if patch_prototypes is not None:
            self.patch_layer = NormalisedLinear(bottleneck, patch_prototypes, fixed_lengths)
        self.patch_channels = patch_prototypes or prototypes

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels) -> (B, K)."""
        return self.last_layer(unit(self.mlp(features)))

    def patches(self, features: Tensor) -> Tensor:
        """(..., in_channels) of patches -> (..., K of patches)."""
        layer = self.last_layer if self.patch_layer is None else self.patch_layer
        return layer(unit(self.mlp(features)))
