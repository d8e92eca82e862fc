"""Checkpoints that something happened to after they were written."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]
Content = dict[str, Any]


class NotApplicableError(Exception):
    """The file has nothing that this could happen to."""


def _one(keys: list[Any], draw: random.Random) -> Any:
    if not keys:
        raise NotApplicableError
    return draw.choice(keys)


def _pairs(state: State) -> list[tuple[str, str]]:
    """Keys of tensors of one shape and different values."""
    keys = [key for key in state if state[key].is_floating_point() and state[key].numel() > 1]
    return [
        (a, b)
        for i, a in enumerate(keys)
        for b in keys[i + 1 :]
        if state[a].shape == state[b].shape and not torch.equal(state[a], state[b])
    ]


def _some(state: State, draw: random.Random, dims: int = 1) -> str:
    keys = [
        key
        for key, tensor in state.items()
        if tensor.is_floating_point() and tensor.ndim >= dims and tensor.numel() > 1
        and float(tensor.abs().max()) > 0
    ]  # fmt: skip
    return _one(keys, draw)


def renamed(state: State, draw: random.Random) -> None:
    key = _some(state, draw)
    first, _, last = key.rpartition(".")
    new = draw.choice((f"{first}.{last}_", f"{first}.x.{last}", key.replace("0", "7"), key.upper()))
    state[new if new != key else f"x.{key}"] = state.pop(key)


def swapped(state: State, draw: random.Random) -> None:
    a, b = _one(_pairs(state), draw)
    state[a], state[b] = state[b], state[a]


def swapped_norm(state: State, draw: random.Random) -> None:
    key = _one([key for key in state if key.endswith("norm1.weight")], draw)
    bias = key.replace("weight", "bias")
    state[key], state[bias] = state[bias], state[key]


def transposed(state: State, draw: random.Random) -> None:
    square = [k for k, v in state.items() if v.ndim == 2 and v.shape[0] == v.shape[1] > 1]
    key = _one(square, draw)
    state[key] = state[key].t().contiguous()


def reshaped(state: State, draw: random.Random) -> None:
    key = _some(state, draw, 2)
    state[key] = state[key].reshape(-1)


def cut(state: State, draw: random.Random) -> None:
    key = _some(state, draw)
    state[key] = state[key][: max(1, len(state[key]) // 2)] if len(state[key]) > 1 else (
        state[key][..., :1].clone()
    )  # fmt: skip


def integers(state: State, draw: random.Random) -> None:
    key, kind = _some(state, draw), draw.choice((torch.int8, torch.uint8, torch.int64, torch.bool))
    state[key] = state[key].to(kind)


def imaginary(state: State, draw: random.Random) -> None:
    key = _some(state, draw)
    state[key] = state[key].to(torch.complex64) * 1j


def scaled(state: State, draw: random.Random) -> None:
    key = _some(state, draw)
    state[key] = state[key] * draw.choice((1e6, -1e6, 1e9))


def all_scaled(state: State, draw: random.Random) -> None:
    for key, tensor in state.items():
        if tensor.is_floating_point():
            state[key] = tensor * 1e6


def vanished(state: State, draw: random.Random) -> None:
    key = _one([key for key in state if key.endswith(("qkv.weight", "fc1.weight"))], draw)
    state[key] = state[key] * draw.choice((0.0, 1e-9))


def not_finite(state: State, draw: random.Random) -> None:
    key = _some(state, draw)
    state[key] = state[key].clone()
    value = draw.choice((float("nan"), float("inf"), -float("inf")))
    state[key].view(-1)[draw.randrange(state[key].numel())] = value


def missing(state: State, draw: random.Random) -> None:
    del state[_some(state, draw)]


def foreign(state: State, draw: random.Random) -> None:
    """A key of another model beside the others."""
    key = _some(state, draw)
    name = draw.choice(("layer4.2.conv3.weight", "blocks.99.attn.qkv.weight", "norm_pre.weight"))
    front = "encoder." if key.startswith("encoder.") else ""
    state[front + name] = torch.randn(8)


def other_model(state: State, draw: random.Random) -> None:
    state.clear()
    state.update(torch.nn.TransformerEncoderLayer(16, 2).state_dict())


def deeper(state: State, draw: random.Random) -> None:
    keys = [key for key in state if key.startswith(("blocks.1.", "encoder.blocks.1."))]
    _one(keys, draw)
    for key in keys:
        state[key.replace("blocks.1.", "blocks.2.")] = state[key].clone()


def shallower(state: State, draw: random.Random) -> None:
    keys = [key for key in state if "blocks.1." in key]
    _one(keys, draw)
    for key in keys:
        del state[key]


def flipped_value(state: State, draw: random.Random) -> None:
    """One bit of one value, after which it is still finite."""
    key = _some(state, draw)
    values = state[key].clone().float()
    bits = values.view(torch.int32).view(-1)
    bits[draw.randrange(bits.numel())] ^= 1 << draw.randrange(22)
    state[key] = values


def shuffled(state: State, draw: random.Random) -> None:
    key = _some(state, draw, 2)
    state[key] = state[key].flip(0)


# that change what is in the file, which is then written again as torch.save or safetensors would
OF_CONTENT: tuple[Callable[[State, random.Random], None], ...] = (
    renamed, swapped, swapped_norm, transposed, reshaped, cut, integers, imaginary, scaled,
    all_scaled, vanished, not_finite, missing, foreign, other_model, deeper, shallower,
    flipped_value, shuffled,
)  # fmt: skip
# after which nothing in a file without checksums tells that its weights are others
UNSEEN = (swapped, transposed, flipped_value, shuffled)


def truncated(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def flipped(data: bytearray, draw: random.Random) -> None:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def zeroed(data: bytearray, draw: random.Random) -> None:
    """A block that was never written, as after a crash."""
    start, size = draw.randrange(len(data)), draw.choice((16, 512, 4096))
    data[start : start + size] = bytes(len(data[start : start + size]))


def doubled(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    data[start:start] = data[start : start + 64]


OF_BYTES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    truncated, flipped, zeroed, doubled
)  # fmt: skip


def rewritten(content: Content) -> bytes:
    """A file of ``torch.save``, without looking at what is in it."""
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()
