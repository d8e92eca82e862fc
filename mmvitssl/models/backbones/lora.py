"""Low-rank updates of frozen weights (Hu et al., 2021: LoRA)."""

from __future__ import annotations

import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = dict[str, Tensor]
PARTS = re.compile(r"(.*)qkv_lora\.(a|b|scale)")


class LowRank(nn.Module):
    """What is added to a linear layer: ``alpha / rank * b(a(x))``, zero at the start.

    Args:
        in_channels, out_channels: of the layer.
        rank: channels between ``a`` and ``b``.
        alpha: numerator of the factor.

    Raises:
        ValueError: a rank below 1.
    """

    scale: Tensor

    def __init__(self, in_channels: int, out_channels: int, rank: int, alpha: float) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"ViT.lora_rank={rank} must be 1 or more, or None.")
        self.a = nn.Parameter(torch.empty(rank, in_channels))
        self.b = nn.Parameter(torch.zeros(out_channels, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))  # as linear layers and the authors' code
        # in the state, so that a file can be merged without its config
        self.register_buffer("scale", torch.tensor(alpha / rank))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_channels) -> (..., out_channels)."""
        return F.linear(F.linear(x, self.a), self.b) * self.scale.to(x.dtype)


def train_only_updates(encoder: nn.Module, also: tuple[str, ...]) -> None:
    """Freeze all parameters but low-rank updates and those whose names begin with ``also``."""
    for name, parameter in encoder.named_parameters():
        if ".qkv_lora." not in f".{name}" and not name.startswith(also):
            parameter.requires_grad_(False)


def merge_updates(state: State) -> tuple[State, int]:
    """Add low-rank updates to the weights that they belong to.

    Returns:
        the state without the updates, and how many there were.
    """
    merged = {key: tensor for key, tensor in state.items() if not PARTS.fullmatch(key)}
    fronts = [key[: -len("qkv_lora.a")] for key in state if key.endswith("qkv_lora.a")]
    for front in fronts:
        a, b, scale = (state[f"{front}qkv_lora.{part}"] for part in ("a", "b", "scale"))
        weight = state[front + "qkv.weight"]
        merged[front + "qkv.weight"] = (weight.float() + scale * (b.float() @ a.float())).to(weight)
    return merged, len(fronts)


def fit_updates(state: State, own: State) -> tuple[State, list[str]]:
    """Fit a checkpoint's state to a model with or without low-rank updates.

    Args:
        state: of the checkpoint's encoder.
        own: of the model's.

    Returns:
        the state with updates of the model's shape, and a line for what was done: a model without
        updates gets merged weights, one with others adds new ones that start from zero.
    """
    theirs = {key: state[key].shape for key in state if PARTS.fullmatch(key)}
    ours = {key: own[key].shape for key in own if PARTS.fullmatch(key)}
    if theirs == ours:
        return state, []
    state, number = merge_updates(state)
    notes = [f"{number} low-rank updates are added to their weights"] if number else []
    if ours:
        notes.append(f"{sum(key.endswith('.a') for key in ours)} low-rank updates start from zero")
    fresh = {key: torch.zeros_like(own[key]) if key.endswith(".b") else own[key] for key in ours}
    return {**state, **fresh}, notes
