"""DINOv2's gated MLPs and chunks of blocks under timm's names."""

from __future__ import annotations

import re

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
