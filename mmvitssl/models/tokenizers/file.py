"""Tokenizer files: safetensors with the config inside, so that a file builds itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from mmvitssl.checkpoint.entries import check_finite
from mmvitssl.checkpoint.own_types import TOKENIZER, build_own, bytes_of, own_settings
from mmvitssl.checkpoint.plausible import check_dtypes
from mmvitssl.checkpoint.safe import CheckpointError, check_format
from mmvitssl.checkpoint.strict import check_keys
from mmvitssl.checkpoint.sums import broken_seals, seal, some_of
from mmvitssl.models.tokenizers.base import Tokenizer
from mmvitssl.writing import whole

ENTRY = "mmvitssl_tokenizer"
HOW = (
    "Train one on your own images with `python tools/train_dvae.py "
    "configs/tokenizers/dvae_8xb32-50e_in1k.py --out FILE`, or convert DALL-E's official files "
    "once with `python tools/checkpoint.py convert-dalle encoder.pkl FILE --decoder decoder.pkl "
    "--trust`; then name the file in the target's checkpoint (docs/tokenizers.md)."
)


def save_tokenizer(tokenizer: nn.Module, path: str | Path) -> Path:
    """Write the weights and the config of a tokenizer."""
    path = Path(path)
    state = {key: value.contiguous().cpu() for key, value in tokenizer.state_dict().items()}
    config: Any = tokenizer.config
    with whole(path) as part:
        save_file(state, str(part), metadata={ENTRY: json.dumps(seal(config, state))})
    return path


def load_tokenizer(path: str | Path, vocabulary: int | None = None) -> Tokenizer:
    """Read a tokenizer, frozen and in eval mode.

    Args:
        path: a file of :func:`save_tokenizer`.
        vocabulary: the number of ids it must have.

    Raises:
        CheckpointError: there is no such file (the message says how to get one), it is none of a
            tokenizer of this package, or its vocabulary is another.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(f"There is no tokenizer at {path.absolute()}. {HOW}")
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
        state = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no safetensors file ({error}). {HOW}") from error
    if ENTRY not in metadata:
        raise CheckpointError(f"{path} does not say which tokenizer it holds. {HOW}")
    words = f"The tokenizer's config inside {path}"
    try:
        config = json.loads(metadata[ENTRY])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{words} is no JSON ({error}). {HOW}") from error
    check_format(path, config)
    broken = broken_seals(config, state) if isinstance(config, dict) else []
    if broken:
        raise CheckpointError(
            f"{path} is damaged: the checksums of {some_of(broken)} differ. Copy it again. {HOW}"
        )
    settings = own_settings(config, TOKENIZER, words)
    tokenizer: Any = build_own(settings, TOKENIZER, words, bytes_of(state))
    if vocabulary is not None and tokenizer.vocabulary != vocabulary:
        raise CheckpointError(
            f"{path} has a vocabulary of {tokenizer.vocabulary}, but the config says {vocabulary}: "
            f"set the target's vocabulary and the neck's out_channels to {tokenizer.vocabulary}."
        )
    check_keys(tokenizer.state_dict(), state, path, "a tokenizer")
    check_dtypes(tokenizer.state_dict(), state, path)
    check_finite(state, path)
    tokenizer.load_state_dict(state, strict=True)
    return tokenizer.eval().requires_grad_(False)
