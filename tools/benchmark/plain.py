"""LoMaR as its paper lays it out in memory, written plainly, to measure ours against.

Each image is embedded whole; images, tokens and targets are repeated once a window; windows are
gathered from the copies; attention is three products and a softmax, with a relative vector a pair;
every token is predicted and the mask weighs the errors. The weights are called as in the official
checkpoints, so that the tests can run the recorded ones.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from timm.layers import Mlp
from torch import Tensor, nn

from benchmark.configs import view_sizes
from benchmark.step import Bench, synthetic_views
from mmvitssl.engine.launch import UserError
from mmvitssl.models.backbones.architectures import architecture
from mmvitssl.models.backbones.relative import IRPE_BUCKETS, grid_coordinates, irpe_index
from mmvitssl.models.data_preprocessor import ViewPreprocessor
from mmvitssl.registry import MODELS


class RelativeKeys(nn.Module):
    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.lookup_table_weight = nn.Parameter(torch.zeros(1, head_dim, IRPE_BUCKETS))


class PlainAttention(nn.Module):
    """Self-attention with contextual relative positions, without fused kernels."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rpe_k = RelativeKeys(width // num_heads)

    def forward(self, x: Tensor, buckets: Tensor) -> Tensor:
        rows, length, width = x.shape
        head_dim = width // self.num_heads
        qkv = self.qkv(x).view(rows, length, 3, self.num_heads, head_dim).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        logits = query @ key.transpose(-2, -1) * head_dim**-0.5
        by_bucket = query @ self.rpe_k.lookup_table_weight[0].to(query.dtype)
        index = buckets.expand(rows, self.num_heads, -1, -1)
        weights = (logits + by_bucket.gather(-1, index)).softmax(dim=-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(rows, length, width))


class PlainBlock(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = PlainAttention(width, num_heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, x: Tensor, buckets: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), buckets)
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nn.Module):
    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, patch_size)


class PlainLomar(nn.Module):
    """Local masked reconstruction, window by window of tiled copies (LoMaR, section 3.2).

    Args:
        width, depth, num_heads: of the encoder.
        patch_size: in pixels.
        window: side of a window in patches.
    """

    def __init__(
        self, width: int, depth: int, num_heads: int, patch_size: int = 16, window: int = 7
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.patch_embed = PatchEmbedding(width, patch_size)
        self.blocks = nn.ModuleList(PlainBlock(width, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.encoder_pred = nn.Linear(width, 3 * patch_size**2)
        buckets = irpe_index(grid_coordinates((window, window)), prefix=1)[:, None]
        self.buckets: Tensor
        self.register_buffer("buckets", buckets, persistent=False)

    def patches(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, N, p * p * 3) normalised pixels of each patch."""
        batch, channels, height, width = images.shape
        p = self.patch_size
        cells = images.view(batch, channels, height // p, p, width // p, p)
        flat = cells.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, p * p * channels)
        mean, var = flat.mean(-1, keepdim=True), flat.var(-1, keepdim=True)
        return (flat - mean) / (var + 1e-6).sqrt()

    def forward(self, images: Tensor, places: Tensor, masked: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction and loss.

        Args:
            images: (B, 3, H, W), normalised.
            places: (R, K) patch indices of each window; row r is of image r mod B.
            masked: (R, K) bool.

        Returns:
            (R, K, p * p * 3) predictions and the scalar loss.
        """
        copies = len(places) // len(images)
        tokens = self.patch_embed.proj(images).flatten(2).transpose(1, 2)
        x = self._windows(tokens, places, copies)
        x = torch.where(masked[..., None], self.mask_token.to(x.dtype), x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1).to(x.dtype), x], dim=1)
        for block in self.blocks:
            x = block(x, self.buckets)
        pred = self.encoder_pred(self.norm(x))[:, 1:]
        target = self._windows(self.patches(images), places, copies)
        error = (pred - target).square().mean(dim=-1)
        return pred, (error * masked).sum() / masked.sum()

    @staticmethod
    def _windows(tokens: Tensor, places: Tensor, copies: int) -> Tensor:
        index = places[..., None].expand(-1, -1, tokens.shape[-1])
        return tokens.repeat(copies, 1, 1).gather(1, index)


class PlainBench(Bench):
    """A LoMaR config in the plain layout, trained as ours is.

    Args:
        name: of the method; 'lomar'.
        config: ours, whose sizes, masks and optimizer it gets. Its AdamW loops over tensors, as the
            default of PyTorch does; ours is fused.
        batch_size: images.
        device: 'cpu' or 'cuda'.
        amp: 'bf16' or 'fp32'.
        compile: whether the model is compiled.

    Raises:
        UserError: no LoMaR config with windows throughout.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        batch_size: int,
        device: str = "cpu",
        amp: str = "fp32",
        compile: bool = False,
    ) -> None:
        task = config.model.tasks.get("masked", {})
        if config.model.encoder.get("relative_position") != "irpe" or task.masking.get("mask_at"):
            raise UserError(f"--peer plain: there is one of lomar, not of {name}.")
        torch.manual_seed(0)
        self.name, self.batch_size, self.device = f"plain {name}", batch_size, torch.device(device)
        arch = architecture(config.model.encoder.get("arch", "base"))
        patch_size = config.model.encoder.get("patch_size", 16)
        self.model = PlainLomar(
            arch["embed_dim"], arch["depth"], arch["num_heads"], patch_size, task.masking.window
        ).to(self.device)
        settings = dict(config.model.data_preprocessor)
        settings.pop("type")
        self.preprocessor = ViewPreprocessor(**settings).to(self.device)
        wrapper = dict(
            type="AutocastOptimWrapper",
            precision=amp,
            optimizer={**config.optim_wrapper.optimizer, "fused": False},
            paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
        )
        self.optim_wrapper = build_optim_wrapper(self.model, wrapper)
        size = view_sizes(config)[0]
        self.grid = (size[0] // patch_size, size[1] // patch_size)
        self.masking: Any = MODELS.build({**task.masking, "pairing": "published"})
        self.generator = torch.Generator().manual_seed(0)
        self.views = [view.to(self.device) for view in synthetic_views(config, batch_size)]
        if compile:
            self.model.compile()

    def step(self) -> None:
        """One training step; masks are drawn in it, as in ours."""
        plan = self.masking(self.grid, self.batch_size, self.generator)
        data = self.preprocessor({"views": self.views, "samples": {}}, training=True)
        with self.optim_wrapper.optim_context(self.model):
            _, loss = self.model(
                data["views"][0].images, plan.tokens.to(self.device), plan.masked.to(self.device)
            )
        self.optim_wrapper.update_params(loss)
