"""Projector and predictor MLPs of the contrastive family."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.distributed import all_reduce_with_grad, alone
from mmvitssl.registry import MODELS


class SyncBatchNorm1d(nn.BatchNorm1d):
    """Batch norm over the batch of all processes, on CPU (gloo) as on GPU.

    torch's own SyncBatchNorm refuses CPU tensors; this one computes the statistics of the whole
    batch with two small all-reduces. Training is then the same however the batch is split.
    """

    def forward(self, features: Tensor) -> Tensor:
        """(B, C) -> (B, C), normalised over the B of all processes while training."""
        if not self.training or alone():
            return super().forward(features)
        values = features.float()
        count = values.new_full((1,), values.shape[0])
        total = all_reduce_with_grad(torch.cat([values.sum(0), count]))
        size = total[-1].detach()
        mean = total[:-1] / size
        centred = values - mean
        variance = all_reduce_with_grad(centred.square().sum(0)) / size
        self._update_running(mean.detach(), variance.detach() * size / (size - 1))
        normalised = centred * torch.rsqrt(variance + self.eps)
        if self.affine:
            normalised = normalised * self.weight + self.bias
        return normalised.to(features.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        if not self.track_running_stats:
            return
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


@MODELS.register_module()
class ProjectionMLP(nn.Module):
    """Linear layers with batch norm and ReLU between: MoCo v3's projector and predictor.

    Args:
        in_channels: width of the features.
        hidden_channels: width of the hidden layers; None: that of the features.
        out_channels: width of the embedding.
        num_layers: number of linear layers; 3 for MoCo v3's projector, 2 for its predictor.
        bias: whether the linear layers have biases.
        last_bias: whether the last one has; None: as the others.
        norm: batch norm (over all processes) after each hidden layer.
        last_norm: batch norm after the last layer; without affine parameters in MoCo v3 and
            SimSiam.
        last_affine: whether that batch norm learns a scale (SimCLR); its shift stays 0.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int | None = 4096,
        out_channels: int = 256,
        num_layers: int = 3,
        bias: bool = False,
        last_bias: bool | None = None,
        norm: bool = True,
        last_norm: bool = True,
        last_affine: bool = False,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"ProjectionMLP.num_layers must be at least 1, not {num_layers}.")
        self.in_channels = in_channels
        self.out_channels = out_channels
        widths = [in_channels, *[hidden_channels or in_channels] * (num_layers - 1), out_channels]
        layers: list[nn.Module] = []
        for i in range(num_layers):
            last = i == num_layers - 1
            has_bias = last_bias if last and last_bias is not None else bias
            layers.append(nn.Linear(widths[i], widths[i + 1], bias=has_bias))
            if i < num_layers - 1:
                layers += [SyncBatchNorm1d(widths[i + 1])] if norm else []
                layers.append(nn.ReLU(inplace=True))
            elif last_norm:
                norm_layer = SyncBatchNorm1d(widths[i + 1], affine=last_affine)
                if last_affine:
                    norm_layer.bias.requires_grad_(False)
                layers.append(norm_layer)
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels) -> (B, out_channels)."""
        return self.layers(features)


def unit(features: Tensor) -> Tensor:
    """L2-normalise the last axis, in float32."""
    return F.normalize(features.float(), dim=-1)
