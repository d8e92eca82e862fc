"""Heads that read classes from features: linear, one a block, behind batch norm, attentive."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import init

from mmvitssl.models.necks.context import CrossAttention
from mmvitssl.models.necks.mlp import SyncBatchNorm1d
from mmvitssl.registry import MODELS


@MODELS.register_module()
class LinearHead(nn.Linear):
    """Linear classifier; weights start normal, biases at 0.

    Args:
        in_channels: width of the features; :class:`ImageClassifier` fills it in.
        num_classes: width of the logits.
        std: deviation of the weights: .01 in probes, 2e-5 in the fine-tuning of MAE and BEiT.
    """

    tokens = False  # one vector an image

    def __init__(self, in_channels: int, num_classes: int, std: float = 0.01) -> None:
        super().__init__(in_channels, num_classes)
        self.num_classes = num_classes
        init.normal_(self.weight, std=std)
        init.zeros_(self.bias)


@MODELS.register_module()
class BlockwiseLinearHead(nn.Module):
    """Linear classifier per block of an encoder (BEiT's linear evaluation).

    All are trained at once, independently; accuracies are logged per block.

    Args:
        in_channels, num_classes, std: see :class:`LinearHead`.
        num_blocks: blocks of the encoder; :class:`ImageClassifier` fills it in.
    """

    tokens = False

    def __init__(
        self, in_channels: int, num_classes: int, num_blocks: int, std: float = 0.01
    ) -> None:
        super().__init__()
        self.num_classes, self.num_blocks = num_classes, num_blocks
        self.linears = nn.ModuleList(
            LinearHead(in_channels, num_classes, std) for _ in range(num_blocks)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, num_blocks, in_channels) -> (B, num_blocks, num_classes)."""
        parts = zip(self.linears, features.unbind(1), strict=True)
        return torch.stack([linear(part) for linear, part in parts], dim=1)


def _batch_norm(channels: int, per_device: bool, eps: float = 1e-5) -> nn.BatchNorm1d:
    """Batch norm without affine parameters, over one process or all."""
    kind = nn.BatchNorm1d if per_device else SyncBatchNorm1d
    return kind(channels, affine=False, eps=eps)


@MODELS.register_module()
class NormalisedLinearHead(nn.Sequential):
    """Batch norm without affine parameters, then a linear layer (MAE, appendix A.1).

    The norm brings features of masked methods, whose scales differ between channels, to one
    scale.

    Args:
        in_channels, num_classes, std: see :class:`LinearHead`.
        per_device: statistics of the batch norm of each process by itself, as in the official
            probes of MAE and CAE, or of all processes. Each process then has running statistics
            of its own: MMEngine's ``SyncBuffersHook`` averages them after each epoch.
    """

    tokens = False

    def __init__(
        self, in_channels: int, num_classes: int, std: float = 0.01, per_device: bool = False
    ) -> None:
        super().__init__(
            _batch_norm(in_channels, per_device, eps=1e-6),
            LinearHead(in_channels, num_classes, std),
        )
        self.num_classes = num_classes


@MODELS.register_module()
class AttentiveHead(nn.Module):
    """Classifier whose learned token attends to all tokens of the encoder (CAE, section 4.2).

    Cross-attention without MLP and residual connection, with layer norms on queries, keys and
    values; then batch norm without affine parameters and a linear layer. In eval mode the batch
    norm uses its running statistics, where the official code uses those of the batch.

    Args:
        in_channels: width of the tokens; :class:`ImageClassifier` fills it in.
        num_classes: width of the logits.
        num_heads: of the attention; :class:`ImageClassifier` takes the encoder's.
        std: deviation of the weights of the linear layer.
        per_device: see :class:`NormalisedLinearHead`.
    """

    tokens = True

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        num_heads: int,
        std: float = 0.01,
        per_device: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.query_token = nn.Parameter(torch.zeros(1, 1, in_channels))
        self.norm_q, self.norm_k, self.norm_v = (
            nn.LayerNorm(in_channels, eps=1e-6) for _ in range(3)
        )
        self.cross_attn = CrossAttention(in_channels, num_heads)
        for module in self.cross_attn.modules():
            if isinstance(module, nn.Linear):
                init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    init.zeros_(module.bias)
        self.norm = _batch_norm(in_channels, per_device)
        self.linear = LinearHead(in_channels, num_classes, std)

    def weights(self, tokens: Tensor) -> Tensor:
        """(B, heads, L) what the learned token weighs (B, L, C) tokens with; rows sum to 1."""
        query = self.norm_q(self.query_token).expand(len(tokens), -1, -1)
        return self.cross_attn.weights(query, self.norm_k(tokens))[:, :, 0]

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, C) tokens, class token included -> (B, num_classes)."""
        query = self.norm_q(self.query_token).expand(len(tokens), -1, -1)
        attended = self.cross_attn(query, self.norm_k(tokens), self.norm_v(tokens))
        return self.linear(self.norm(attended[:, 0]))
