"""DALL-E's official tokenizer files, which are pickled modules, as a tokenizer file."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmvitssl.checkpoint.entries import state_dict_of
from mmvitssl.checkpoint.safe import CheckpointError, load_file
from mmvitssl.checkpoint.strict import check_keys
from mmvitssl.models.tokenizers.dalle import DalleTokenizer
from mmvitssl.models.tokenizers.file import save_tokenizer

# what unpickling raises on files that hold something else
DAMAGED = (KeyError, ValueError, TypeError, AttributeError, IndexError, AssertionError)
MODULES = ("dall_e", "dall_e.encoder", "dall_e.decoder", "dall_e.utils")


class _Shell(nn.Module):
    """Takes the place of the official classes: holds parameters, computes nothing."""


@contextmanager
def _shells() -> Iterator[None]:
    """Let the official module names resolve to shells, unless the package is installed."""
    names = [] if find_spec("dall_e") is not None else list(MODULES)
    for name in names:
        module = types.ModuleType(name)
        module.__getattr__ = lambda attribute: _Shell  # type: ignore[method-assign]
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def _read(path: Path, trust: bool) -> dict[str, Tensor]:
    """Tensors of an official file; a plain state dict needs no trust."""
    try:
        return state_dict_of(load_file(path), path)
    except CheckpointError as error:
        if not trust:
            raise CheckpointError(
                f"{path} holds no plain tensors. DALL-E's official files are pickled programs: "
                f"reading them runs code. If you trust where it comes from, repeat with --trust; "
                f"the file that is written holds tensors only."
            ) from error
    try:
        with _shells():
            module: Any = torch.load(path, map_location="cpu", weights_only=False)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ImportError, *DAMAGED) as error:
        raise CheckpointError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise CheckpointError(f"{path} holds a {type(module).__name__}, no module of DALL-E.")
    return {key: value.detach().float() for key, value in module.state_dict().items()}


def convert_dalle(
    encoder: str | Path, out: str | Path, decoder: str | Path | None = None, trust: bool = False
) -> DalleTokenizer:
    """Convert ``encoder.pkl`` (and ``decoder.pkl``, for pictures) into a tokenizer file.

    Args:
        encoder, decoder: the official files, or plain state dicts of them.
        out: the ``.safetensors`` file to write.
        trust: whether code in the official files may run, once.

    Returns:
        the tokenizer that was written.

    Raises:
        FileNotFoundError: a file is missing.
        CheckpointError: a file may not be read without ``trust``, or is none of DALL-E's.
    """
    state = {f"encoder.{key}": value for key, value in _read(Path(encoder), trust).items()}
    if decoder is not None:
        painted = _read(Path(decoder), trust)
        state.update({f"decoder.{key}": value for key, value in painted.items()})
    entry, last = state.get("encoder.blocks.input.w"), state.get("encoder.blocks.output.conv.w")
    if entry is None or last is None:
        raise CheckpointError(f"{encoder} has not the keys of DALL-E's encoder: {list(state)[:6]}.")
    number = sum(key.startswith("encoder.blocks.group_1.block_") for key in state)
    first = state.get("decoder.blocks.input.w")
    tokenizer = DalleTokenizer(
        vocabulary=last.shape[0],
        hidden=entry.shape[0],
        blocks=max(1, number // 8),  # four convolutions of two tensors a block
        first=128 if first is None else first.shape[0],
        decoder=decoder is not None,
    )
    check_keys(tokenizer.state_dict(), state, encoder, "DALL-E's tokenizer")
    tokenizer.load_state_dict(state)
    save_tokenizer(tokenizer, out)
    return tokenizer
