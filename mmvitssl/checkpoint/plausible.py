"""Weights that fit a model by name and shape, and yet cannot be those of a trained one.

What these checks know holds for every Vision and Swin Transformer that was trained by anyone: the
types of tensors, and sizes of their values. Two matrices of one shape that changed places, or a
transposed one, look like trained weights; only checksums (:mod:`mmvitssl.checkpoint.sums`) find
them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from mmvitssl.checkpoint.entries import some
from mmvitssl.checkpoint.errors import CheckpointError

MATRIX = re.compile(r".*\b(attn\.(qkv|proj)|mlp\.fc[12]|patch_embed\.proj|reduction)\.weight")
NORM = re.compile(r".*\bnorm\d?\.weight")
# root mean square of values: trained matrices have 0.005 to 1, norms 0.05 to 30
MATRICES = (1e-7, 10.0)
NORMS = (1e-5, 1e3)
OTHERS = (0.0, 1e3)  # biases and tokens: zeros are usual
WIDE = 64  # channels from which on the mean of a norm tells anything


def check_dtypes(own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse tensors whose types torch would convert to weights without a word.

    Floating-point types of any width are taken: their values stay what they were.

    Raises:
        CheckpointError: numbers that are no floating-point ones where the model has those, or the
            other way round.
    """
    wrong = [
        f"{key} ({_type(state[key])} in the file, {_type(own[key])} in the model)"
        for key in own
        if key in state and state[key].is_floating_point() != own[key].is_floating_point()
    ]
    if wrong:
        raise CheckpointError(
            f"{path}: {len(wrong)} tensors have a type that weights cannot be made of: "
            f"{some(wrong)}. Quantised and complex weights are not read: save them as float32."
        )


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def implausible(state: Mapping[str, Tensor]) -> list[str]:
    """Tensors whose values have a size that no trained encoder has, each with that size.

    Args:
        state: tensors of an encoder by name.
    """
    wrong = []
    for key, tensor in state.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        low, high = MATRICES if MATRIX.fullmatch(key) else NORMS if NORM.fullmatch(key) else OTHERS
        size = float(tensor.detach().double().square().mean().sqrt())
        if not low <= size <= high:
            wrong.append(f"{key} ({size:.1e}; trained ones have {max(low, 1e-7):.0e} to {high:g})")
    return wrong + _swapped_norms(state)


def check_scale(state: Mapping[str, Tensor], path: str | Path, front: str = "") -> None:
    """Refuse encoders with values of a size that no trained encoder has.

    Args:
        state: tensors by name.
        path: of the file.
        front: of the names that are the encoder's; the others are not looked at.

    Raises:
        CheckpointError: names the tensors, with the root mean square of their values.
    """
    wrong = implausible({key: value for key, value in state.items() if key.startswith(front)})
    if wrong:
        raise CheckpointError(
            f"{path}: the values of {len(wrong)} tensors are not those of a trained encoder (root "
            f"mean square): {some(wrong)}. The file was changed after it was written, or its "
            f"training diverged: take another one."
        )


def _swapped_norms(state: Mapping[str, Tensor]) -> list[str]:
    """Norms whose weight and bias changed places: weights lie around one, biases around zero."""
    found = []
    for key, weight in state.items():
        bias = state.get(f"{key.removesuffix('weight')}bias")
        if not NORM.fullmatch(key) or bias is None or weight.numel() < WIDE:
            continue
        if _lean(weight) < 0.1 and _lean(bias) > 0.5:
            found.append(f"{key} (in the place of its bias)")
    return found


def _lean(tensor: Tensor) -> float:
    """The mean over the root mean square, in [-1, 1]."""
    values = tensor.detach().double()
    return float(values.mean() / values.square().mean().sqrt().clamp(min=1e-300))
