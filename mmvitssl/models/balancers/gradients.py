"""Gradients of several losses at parameters that all of them reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmvitssl.compat import keep_compiled_graphs
from mmvitssl.distributed import mean_over_processes
from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.precision import full_precision


class Trunk:
    """The deepest block of the encoder that lies before everything the tasks read.

    Tasks read different tokens and patches of the output, whose gradients never meet; in the
    parameters of a block they do. A task that reads levels inside the encoder too (RePre) sends
    gradients in between blocks, so all tasks are compared at or before the shallowest of them.

    With ``autograd.grad`` the backward pass of each task ends at that block: through its head and
    the last block for tasks on the output, through the blocks behind level l where one reads it.
    No gradient is accumulated, so DDP does not notice.

    Args:
        encoder: names the layer of each of its parameters (``get_layer_depth``).
    """

    def __init__(self, encoder: Backbone) -> None:
        keep_compiled_graphs()
        self._encoder = encoder
        self._layer: int | None = None

    def blocks(self) -> dict[int, list[nn.Parameter]]:
        """Trained parameters of each block by layer; neither the embedding nor the last norm."""
        layers: dict[int, list[nn.Parameter]] = {}
        for name, parameter in self._encoder.named_parameters():
            layer, number = self._encoder.get_layer_depth(name)
            if parameter.requires_grad and 0 < layer < number - 1:
                layers.setdefault(layer, []).append(parameter)
        return layers

    def check(self, owner: str) -> None:
        """Raise ValueError if no block of the encoder is trained."""
        if not self.blocks():
            raise ValueError(
                f"{owner} compares gradients in the blocks of the encoder, but "
                f"{type(self._encoder).__name__} has no trained block: use FixedWeights or "
                f"UncertaintyWeights."
            )

    def parameters(
        self, losses: Mapping[str, Tensor], levels: Sequence[Tensor] = ()
    ) -> list[nn.Parameter]:
        """Parameters of the block at which the tasks are compared; found once, then kept.

        Args:
            losses: scalar of each task.
            levels: features inside the encoder that tasks read.

        Raises:
            ValueError: no block lies before everything.
        """
        blocks = self.blocks()
        if self._layer not in blocks:
            self._layer = next(
                (layer for layer in sorted(blocks, reverse=True)
                 if all(_reaches(loss, blocks[layer]) for loss in losses.values())
                 and all(_moves(level, blocks[layer]) for level in levels)), None,
            )  # fmt: skip
        if self._layer is None:
            reached = {name: sorted(layer for layer in blocks if _reaches(loss, blocks[layer]))
                       for name, loss in losses.items()}  # fmt: skip
            raise ValueError(
                f"The gradients of the tasks meet at no trained block of the encoder (layers that "
                f"each reaches: {reached}). Use FixedWeights or UncertaintyWeights, and no "
                f"GradientCosineHook."
            )
        return blocks[self._layer]

    def products(self, losses: Mapping[str, Tensor], levels: Sequence[Tensor] = ()) -> Tensor:
        """(T, T) inner products of T gradients in float32, the same on all processes.

        Args:
            losses, levels: see :meth:`parameters`.

        Raises:
            ValueError: the gradients meet nowhere.
        """
        parameters = self.parameters(losses, levels)
        rows = torch.stack([_gradient(loss, parameters) for loss in losses.values()])
        rows = mean_over_processes(rows)
        with full_precision(rows.device):
            return rows @ rows.T


def _parts(loss: Tensor, parameters: Sequence[nn.Parameter]) -> tuple[Tensor | None, ...]:
    if not loss.requires_grad:
        return (None,) * len(parameters)
    return torch.autograd.grad(loss, list(parameters), retain_graph=True, allow_unused=True)


def _reaches(loss: Tensor, parameters: Sequence[nn.Parameter]) -> bool:
    return any(part is not None for part in _parts(loss, parameters))


def _moves(level: Tensor, parameters: Sequence[nn.Parameter]) -> bool:
    """Whether features depend on parameters, by value: a compiled encoder is one operation."""
    parts = _parts(level.float().sum(), parameters)
    return any(part is not None and bool(part.any()) for part in parts)


def _gradient(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """(P,) float32."""
    return torch.cat([
        (torch.zeros_like(parameter) if part is None else part).flatten().float()
        for part, parameter in zip(_parts(loss, parameters), parameters, strict=True)
    ])  # fmt: skip


def gradient_cosines(
    losses: Mapping[str, Tensor], trunk: Trunk, levels: Sequence[Tensor] = ()
) -> dict[str, Tensor]:
    """``cosine_<a>_<b>`` of each two tasks' gradients: below 0 they pull against each other.

    A gradient of 0 (a batch that has nothing for a task) has no direction: its cosines are NaN.
    """
    names = list(losses)
    if len(names) < 2:
        return {}
    products = trunk.products(losses, levels)
    norms = products.diagonal().sqrt()
    cosines = (products / norms[:, None] / norms).clamp(-1.0, 1.0)
    return {
        f"cosine_{names[i]}_{names[j]}": cosines[i, j]
        for i in range(len(names))
        for j in range(i + 1, len(names))
    }
