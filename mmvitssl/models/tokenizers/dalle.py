"""The discrete VAE of DALL-E (Ramesh et al., 2021, appendix A), with its official names."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.models.precision import full_precision
from mmvitssl.models.tokenizers.base import check_divides
from mmvitssl.registry import MODELS

EPSILON = 0.1  # pixels x become (1 - 2 * .1) x + .1, so that their logit is finite


class Convolution(nn.Module):
    """Convolution whose parameters are called ``w`` and ``b``, without changing the size.

    The precision is its own, as in the official ``dall_e.utils.Conv2d``, and autocast does not
    change it: float16 on CUDA and float32 elsewhere.

    Args:
        inputs, outputs: channels.
        kernel: side of the kernel, odd.
        half: whether CUDA computes in float16; the official output layers do not.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, half: bool = True) -> None:
        super().__init__()
        self.half_on_cuda = half
        self.w = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.b = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.w, std=1 / math.sqrt(inputs * kernel**2))

    def forward(self, x: Tensor) -> Tensor:
        half = self.half_on_cuda and x.device.type == "cuda"
        dtype = torch.float16 if half else torch.float32
        with full_precision(x.device):
            weight, bias = self.w.to(dtype), self.b.to(dtype)
            return F.conv2d(x.to(dtype), weight, bias, padding=(self.w.shape[-1] - 1) // 2)


class ResidualBlock(nn.Module):
    """Four convolutions with ReLU before each, scaled by 1 / layers^2, beside an identity path."""

    def __init__(self, inputs: int, outputs: int, layers: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.gain = 1 / layers**2
        hidden = outputs // 4
        widths = [inputs, hidden, hidden, hidden, outputs]
        path: list[tuple[str, nn.Module]] = []
        for i, kernel in enumerate(kernels):
            # the first one's input is the identity path's too
            path.append((f"relu_{i + 1}", nn.ReLU(inplace=i > 0)))
            path.append((f"conv_{i + 1}", Convolution(widths[i], widths[i + 1], kernel)))
        self.res_path = nn.Sequential(OrderedDict(path))
        self.id_path = nn.Identity() if inputs == outputs else Convolution(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.id_path(x), self.res_path(x), alpha=self.gain)


def _groups(
    inputs: int,
    widths: Sequence[int],
    blocks: int,
    kernels: Sequence[int],
    between: tuple[str, nn.Module],
) -> list[tuple[str, nn.Module]]:
    """Groups of residual blocks; all but the last end in ``between``."""
    groups: list[tuple[str, nn.Module]] = []
    layers = len(widths) * blocks
    for g, width in enumerate(widths):
        parts: list[tuple[str, nn.Module]] = []
        for i in range(blocks):
            block = ResidualBlock(inputs, width, layers, kernels)
            parts.append((f"block_{i + 1}", block))
            inputs = width
        if g + 1 < len(widths):
            parts.append(between)
        groups.append((f"group_{g + 1}", nn.Sequential(OrderedDict(parts))))
    return groups


def _output(inputs: int, outputs: int) -> tuple[str, nn.Module]:
    # in float32 on every device: half precision has ties among 8192 logits
    parts = OrderedDict(relu=nn.ReLU(), conv=Convolution(inputs, outputs, 1, half=False))
    return "output", nn.Sequential(parts)


class DalleEncoder(nn.Module):
    """(B, 3, H, W) pixels -> (B, vocabulary, H / 8, W / 8) logits."""

    def __init__(self, vocabulary: int, hidden: int, blocks: int) -> None:
        super().__init__()
        pool = ("pool", nn.MaxPool2d(2))
        widths = [hidden * factor for factor in (1, 2, 4, 8)]
        stages = _groups(hidden, widths, blocks, (3, 3, 3, 1), pool)
        first = ("input", Convolution(3, hidden, 7))
        self.blocks = nn.Sequential(OrderedDict([first, *stages, _output(8 * hidden, vocabulary)]))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.blocks(pixels)


class DalleDecoder(nn.Module):
    """(B, vocabulary, h, w) one-hot ids -> (B, 6, 8 h, 8 w): location and scale of each colour."""

    def __init__(self, vocabulary: int, hidden: int, blocks: int, first: int) -> None:
        super().__init__()
        upsample = ("upsample", nn.Upsample(scale_factor=2, mode="nearest"))
        widths = [hidden * factor for factor in (8, 4, 2, 1)]
        stages = _groups(first, widths, blocks, (1, 3, 3, 3), upsample)
        entry = ("input", Convolution(vocabulary, first, 1))
        self.blocks = nn.Sequential(OrderedDict([entry, *stages, _output(hidden, 6)]))

    def forward(self, ids: Tensor) -> Tensor:
        return self.blocks(ids)


@MODELS.register_module()
class DalleTokenizer(nn.Module):
    """DALL-E's discrete VAE: the tokenizer of BEiT and CAE.

    Args:
        vocabulary: number of ids.
        hidden: channels of the first group.
        blocks: residual blocks a group.
        first: channels after the decoder's first layer.
        decoder: whether the decoder is there too; only pictures need it.
    """

    stride = 8

    def __init__(
        self,
        vocabulary: int = 8192,
        hidden: int = 256,
        blocks: int = 2,
        first: int = 128,
        decoder: bool = True,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.config = dict(
            type="DalleTokenizer", vocabulary=vocabulary, hidden=hidden, blocks=blocks,
            first=first, decoder=decoder,
        )  # fmt: skip
        self.encoder = DalleEncoder(vocabulary, hidden, blocks)
        self.decoder = DalleDecoder(vocabulary, hidden, blocks, first) if decoder else None

    def tokenize(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, H / 8, W / 8) long, the most probable ids."""
        check_divides(pixels, self.stride)
        inputs = (1 - 2 * EPSILON) * pixels.float() + EPSILON
        # convolutions keep the layout, and are faster in this one
        return self.encoder(inputs.contiguous(memory_format=torch.channels_last)).argmax(dim=1)

    def decode(self, ids: Tensor) -> Tensor:
        """(B, h, w) long -> (B, 3, 8 h, 8 w) in [0, 1].

        Raises:
            RuntimeError: the decoder's weights were not converted.
        """
        if self.decoder is None:
            raise RuntimeError(
                "This tokenizer has no decoder: convert decoder.pkl too (tools/checkpoint.py "
                "convert-dalle --decoder) to draw pictures of tokens."
            )
        one_hot = F.one_hot(ids, self.vocabulary).permute(0, 3, 1, 2).float()
        colours = self.decoder(one_hot)[:, :3].sigmoid()
        return ((colours - EPSILON) / (1 - 2 * EPSILON)).clamp(0, 1)
