"""Stochastic depth whose draws are those of each sample, whatever batch it is in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import timm.layers
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmvitssl.arguments import check_drop_path
from mmvitssl.randomness import SampleDraws


class _Rows:
    """What the rows of the running pass have drawn: (layers, R) in [0, 1); None: nothing."""

    drawn: Tensor | None = None


_ROWS = _Rows()


@contextmanager
def rows_drawn(drawn: Tensor | None) -> Iterator[None]:
    """Let :class:`DropPath` take what it drops from ``drawn``, (layers, R) in [0, 1)."""
    before, _ROWS.drawn = _ROWS.drawn, drawn
    try:
        yield
    finally:
        _ROWS.drawn = before


class DropPath(timm.layers.DropPath):
    """Stochastic depth (Huang et al. 2016), each row by itself.

    Inside :func:`rows_drawn`, and once :func:`number_layers` has numbered it, it drops what the
    rows have drawn. Elsewhere it draws from torch's generator.

    Raises:
        ValueError: a rate outside [0, 1).
    """

    number: int | None = None

    def __init__(self, drop_prob: float = 0.0, scale_by_keep: bool = True) -> None:
        check_drop_path("drop_path", drop_prob)
        super().__init__(drop_prob, scale_by_keep)

    def forward(self, x: Tensor) -> Tensor:
        """(R, ...) -> (R, ...), some rows zero and the others scaled."""
        drawn = _ROWS.drawn
        if drawn is None or self.number is None or not self.training or not self.drop_prob:
            return super().forward(x)
        if drawn.shape[1] != x.shape[0]:  # rows that are no samples
            return super().forward(x)
        kept = (drawn[self.number] >= self.drop_prob).to(x.dtype)
        if self.scale_by_keep:
            kept = kept / (1 - self.drop_prob)
        return x * kept.view(-1, *[1] * (x.ndim - 1))


def dropped(layer: nn.Module, parts: Sequence[Tensor]) -> list[Tensor]:
    """A layer on several batches (R_i, ...) whose rows are those of a pass, one after the other."""
    drawn, lengths = _ROWS.drawn, [len(part) for part in parts]
    if drawn is None or drawn.shape[1] != sum(lengths):
        return [layer(part) for part in parts]
    outputs = []
    for part, own in zip(parts, drawn.split(lengths, dim=1), strict=True):
        with rows_drawn(own):
            outputs.append(layer(part))
    return outputs


def per_sample(model: nn.Module) -> None:
    """Replace timm's layers of stochastic depth, in place, by those that draw per sample."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is timm.layers.DropPath:
                theirs: Any = child
                setattr(parent, name, DropPath(theirs.drop_prob, theirs.scale_by_keep))


def number_layers(model: nn.Module) -> int:
    """Number the layers of stochastic depth; returns how many there are, 0 if none drops."""
    layers = [module for module in model.modules() if isinstance(module, DropPath)]
    for number, layer in enumerate(layers):
        layer.number = number
    return len(layers) if any(layer.drop_prob for layer in layers) else 0


def sample_depths(
    seed: int, samples: Mapping[str, Any], layers: int, device: torch.device
) -> Tensor | None:
    """(layers, B) in [0, 1) for passes of which each row is a sample; None without layers."""
    if not layers:
        return None
    draws = SampleDraws.of(seed, samples, "depth", device)
    return draws.uniform(len(draws.keys), layers).t()


def recomputed(block: nn.Module, *inputs: Any) -> Tensor:
    """A block whose activations are computed again in the backward pass, with the same draws."""
    drawn = _ROWS.drawn
    if drawn is None or torch.compiler.is_compiling():  # a graph keeps its inputs by itself
        return checkpoint(block, *inputs, use_reentrant=False)  # type: ignore[no-any-return]

    def run(*again: Any) -> Tensor:
        with rows_drawn(drawn):
            return block(*again)  # type: ignore[no-any-return]

    return checkpoint(run, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
