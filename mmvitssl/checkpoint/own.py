"""This package's checkpoints as safetensors files that say how to build their encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mmvitssl.checkpoint.description import Description, fitted
from mmvitssl.checkpoint.safe import CARRIED, OWN_METADATA, CheckpointError
from mmvitssl.checkpoint.sums import seal
from mmvitssl.writing import whole

State = dict[str, Tensor]


def write_own(
    state: Mapping[str, Tensor],
    out: Path,
    description: Description | None,
    source: str = "online",
    carried: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write tensors with this package's names, and the config of their encoder beside them.

    :func:`~mmvitssl.checkpoint.load_file` reads both back.

    Args:
        state: the encoder's names stand behind ``encoder.``.
        out: the file to write.
        description: of the encoder, where it is known.
        source: which encoder of the checkpoint it is.
        carried: what an import kept for exports.

    Returns:
        what is to be said of it, in lines.

    Raises:
        CheckpointError: the file's name does not end in ``.safetensors``.
    """
    if out.suffix != ".safetensors":
        raise CheckpointError(f"{out} must end in .safetensors.")
    said: dict[str, Any] = {"written_by": OWN_METADATA, "source": source}
    lines = []
    if description is None:
        lines.append("without the encoder's config, which the checkpoint does not say (--config)")
    else:
        said["encoder"] = fitted(description.encoder, state)
        if description.preprocessor is not None:
            said["data_preprocessor"] = description.preprocessor
    others = {} if carried is None else dict(carried["tensors"])
    if carried is not None:
        said["carried"] = {key: carried[key] for key in ("format", "prefixes") if key in carried}
    said = seal(said, {"state_dict": state, "carried": others})
    tensors = {**state, **{CARRIED + key: tensor for key, tensor in others.items()}}
    # safetensors refuses tensors that share memory
    copies = {
        key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in tensors.items()
    }
    with whole(out) as part:
        save_file(copies, str(part), {"format": "pt", OWN_METADATA: json.dumps(said)})
    return [*lines, f"wrote {len(tensors)} tensors with this package's names to {out}"]
