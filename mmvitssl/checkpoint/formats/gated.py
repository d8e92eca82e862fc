"""Gated MLPs of DINOv2 and DINOv3, and chunks of blocks, under timm's names."""

from __future__ import annotations

import re

import torch
from torch import Tensor

State = dict[str, Tensor]
CHUNKED = re.compile(r"blocks\.\d+\.(\d+\..*)")
# (DINOv2, Hugging Face transformers) of the joined first layer and of the last one
GATES = {"w12": "fc1", "w3": "fc2", "weights_in": "fc1", "weights_out": "fc2"}
GATED = re.compile(r"(.*\bmlp)\.(w12|w3|weights_in|weights_out)\.(weight|bias)")
PLAIN = re.compile(r"(.*\bmlp)\.(fc1|fc2)\.(weight|bias)")


def flat_blocks(state: State) -> State:
    """``blocks.{chunk}.{i}.*`` (for sharded training) as ``blocks.{i}.*``; ``i`` is global."""
    return {CHUNKED.sub(r"blocks.\1", key): tensor for key, tensor in state.items()}


def plain_names(state: State) -> State:
    """The layers of gated MLPs with timm's names, ``fc1`` (gate, value) and ``fc2``."""
    renamed = {}
    for key, tensor in state.items():
        match = GATED.fullmatch(key)
        name = key if match is None else f"{match[1]}.{GATES[match[2]]}.{match[3]}"
        renamed[name] = tensor
    return renamed


def gate_names(state: State, names: tuple[str, str] = ("w12", "w3")) -> State:
    """The inverse of :func:`plain_names`; a gated MLP shows by its first layer's width."""
    renamed = {}
    for key, tensor in state.items():
        match = PLAIN.fullmatch(key)
        if match is not None:
            first, last = (state.get(f"{match[1]}.{layer}.weight") for layer in ("fc1", "fc2"))
            if first is not None and last is not None and len(first) == 2 * last.shape[1]:
                key = f"{match[1]}.{names[match[2] == 'fc2']}.{match[3]}"
        renamed[key] = tensor
    return renamed


Gates = tuple[str, str, str]  # names of the layers of gates, of values, and of the last one


def _front(key: str, name: str) -> tuple[str, str] | None:
    match = re.fullmatch(rf"(.*\bmlp)\.{name}\.(weight|bias)", key)
    return None if match is None else (match[1], match[2])


def join_gates(state: State, names: Gates) -> State:
    """Gates and values, which are layers of their own (DINOv3), as one first layer."""
    joined: State = {}
    for key, tensor in state.items():
        gate, value, last = (_front(key, name) for name in names)
        if gate is not None and f"{gate[0]}.{names[1]}.{gate[1]}" in state:
            values = state[f"{gate[0]}.{names[1]}.{gate[1]}"]
            joined[f"{gate[0]}.fc1.{gate[1]}"] = torch.cat([tensor, values])
        elif last is not None:
            joined[f"{last[0]}.fc2.{last[1]}"] = tensor
        elif value is None:
            joined[key] = tensor
        elif f"{value[0]}.{names[0]}.{value[1]}" not in state:  # an MLP without gates
            joined[f"{value[0]}.fc1.{value[1]}"] = tensor
    return joined


def split_gates(state: State, names: Gates, plain: tuple[str, str] = ("fc1", "fc2")) -> State:
    """The inverse of :func:`join_gates`; ``plain`` are the names in MLPs without gates."""
    apart: State = {}
    for key, tensor in state.items():
        match = PLAIN.fullmatch(key)
        layers = [f"{match[1]}.{layer}.weight" for layer in ("fc1", "fc2")] if match else []
        if match is None or any(layer not in state for layer in layers):
            apart[key] = tensor
        elif len(state[layers[0]]) != 2 * state[layers[1]].shape[1]:
            apart[f"{match[1]}.{plain[match[2] == 'fc2']}.{match[3]}"] = tensor
        elif match[2] == "fc2":
            apart[f"{match[1]}.{names[2]}.{match[3]}"] = tensor
        else:
            for name, values in zip(names, tensor.chunk(2), strict=False):
                apart[f"{match[1]}.{name}.{match[3]}"] = values.clone()
    return apart
