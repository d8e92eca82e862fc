"""A small discrete VAE, trained on the user's own images without labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmvitssl.models.data_preprocessor import build_preprocessor
from mmvitssl.models.tokenizers.base import check_divides
from mmvitssl.registry import MODELS
from mmvitssl.structures import View


class Residual(nn.Module):
    """Two 3x3 convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _down(hidden: int, steps: int, blocks: int, vocabulary: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(steps):
        layers += [nn.Conv2d(3 if i == 0 else hidden, hidden, 4, stride=2, padding=1), nn.ReLU()]
    layers += [Residual(hidden) for _ in range(blocks)]
    return nn.Sequential(*layers, nn.Conv2d(hidden, vocabulary, 1))


def _up(codes: int, hidden: int, steps: int, blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(codes, hidden, 1)]
    layers += [Residual(hidden) for _ in range(blocks)]
    for _ in range(steps):
        layers += [nn.ConvTranspose2d(hidden, hidden, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(hidden, 3, 1))


@MODELS.register_module()
class DiscreteVAE(BaseModel):
    """Discrete VAE with a Gumbel-softmax relaxation (Ramesh et al., 2021, section 2.1).

    Args:
        vocabulary: number of ids.
        hidden: channels inside encoder and decoder.
        codes: channels of a code vector.
        blocks: residual blocks of encoder and of decoder.
        stride: pixels a token, per side; a power of two.
        temperature: of the relaxation, at the start and at the end of training.
        kl_weight: weight of the divergence of the mean use of ids from uniform use, which keeps
            ids from dying out.
        data_preprocessor: config; pixels are taken before normalisation.

    Raises:
        ValueError: a stride that is no power of two, or a temperature that is not positive.
    """

    temperature: Tensor

    def __init__(
        self,
        vocabulary: int = 1024,
        hidden: int = 64,
        codes: int = 64,
        blocks: int = 2,
        stride: int = 8,
        temperature: Sequence[float] = (1.0, 0.0625),
        kl_weight: float = 0.01,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=build_preprocessor(data_preprocessor))
        steps = int(math.log2(stride))
        if 2**steps != stride or min(temperature) <= 0:
            raise ValueError(
                f"DiscreteVAE needs a power of two as stride and positive temperatures; got "
                f"{stride} and {temperature}."
            )
        self.vocabulary, self.stride, self.kl_weight = vocabulary, stride, kl_weight
        self.temperatures = (float(temperature[0]), float(temperature[1]))
        self.config = dict(
            type="DiscreteVAE", vocabulary=vocabulary, hidden=hidden, codes=codes, blocks=blocks,
            stride=stride,
        )  # fmt: skip
        self.encoder = _down(hidden, steps, blocks, vocabulary)
        self.codebook = nn.Embedding(vocabulary, codes)
        self.decoder = _up(codes, hidden, steps, blocks)
        self.register_buffer("temperature", torch.tensor(self.temperatures[0]))

    def set_progress(self, progress: float) -> None:
        """Cool the relaxation: geometric from the first to the last temperature in [0, 1]."""
        first, last = self.temperatures
        self.temperature.fill_(first * (last / first) ** min(max(progress, 0.0), 1.0))

    def _paint(self, weights: Tensor) -> Tensor:
        """(B, V, h, w) weights of the codes -> (B, 3, H, W)."""
        mixed = torch.einsum("bvhw,vc->bchw", weights, self.codebook.weight.to(weights.dtype))
        return self.decoder(mixed)

    def forward(
        self, views: Sequence[View], samples: dict[str, Any], mode: str = "loss"
    ) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses of the first view ('loss'), or its errors with hard ids ('predict').

        Raises:
            ValueError: an unknown mode.
        """
        pixels = views[0].pixels
        check_divides(pixels, self.stride)
        if mode == "loss":
            return self._losses(pixels)
        if mode == "predict":
            error = (self.decode(self.tokenize(pixels)) - pixels).abs().mean()
            return [{"batch_size": len(pixels), "reconstruction_error": float(error)}]
        raise ValueError(f"DiscreteVAE.forward knows 'loss' and 'predict', not '{mode}'.")

    def _losses(self, pixels: Tensor) -> dict[str, Tensor]:
        logits = self.encoder(pixels).float()
        tau: Any = self.temperature  # a tensor, so that nothing waits for the device
        weights = F.gumbel_softmax(logits, tau=tau, dim=1)
        picture = self._paint(weights).float()
        use = logits.softmax(dim=1).mean(dim=(0, 2, 3))
        divergence = (use * (use * self.vocabulary).clamp(min=1e-10).log()).sum()
        counts = torch.bincount(logits.argmax(dim=1).flatten(), minlength=self.vocabulary)
        share = counts / counts.sum()
        entropy = -(share * share.clamp(min=1e-10).log()).sum()
        return {
            "loss_pixels": F.mse_loss(picture, pixels),
            "loss_use": self.kl_weight * divergence,
            "error": (picture.detach() - pixels).abs().mean(),
            "perplexity": entropy.exp(),
        }

    @torch.no_grad()
    def tokenize(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, H / stride, W / stride) long, the most probable ids."""
        check_divides(pixels, self.stride)
        return self.encoder(pixels.float()).argmax(dim=1)

    @torch.no_grad()
    def decode(self, ids: Tensor) -> Tensor:
        """(B, h, w) long -> (B, 3, h * stride, w * stride) in [0, 1]."""
        return self.decoder(self.codebook(ids).permute(0, 3, 1, 2)).clamp(0, 1)
