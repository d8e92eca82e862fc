"""Features of a whole data set from a frozen encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from mmvitssl.datasets.collate import collate_views
from mmvitssl.datasets.sampler import SampleKey
from mmvitssl.models.backbones.contract import BackboneSpec, backbone_in
from mmvitssl.structures import Encoded

READOUTS = ("cls", "mean", "cls+mean", "cls-last4", "blocks", "token:NAME")
LAST = 4  # levels of the readout cls-last4


@dataclass(frozen=True)
class Features:
    """One vector per image, in the order of the data set.

    Attributes:
        values: (N, C) float32 on the CPU.
        labels: (N,) long, None where the data set has none.
        paths: N names of the images.
    """

    values: Tensor
    labels: Tensor | None
    paths: list[str]


def check_readout(encoder: nn.Module, readout: str, one_vector: bool = True) -> None:
    """Refuse what an encoder cannot give.

    Args:
        encoder: a backbone.
        readout: see :func:`encode_features`.
        one_vector: whether an image must give one vector, not one for each level.

    Raises:
        ValueError: an unknown readout, or one that the encoder does not have.
    """
    spec = backbone_in(encoder).spec
    if one_vector and readout == "blocks":
        raise ValueError(
            "readout='blocks' returns one vector per block, which only ImageClassifier with "
            "BlockwiseLinearHead reads: use another here."
        )
    if readout == "cls-last4" and spec.depth < LAST:
        raise ValueError(
            f"readout='cls-last4' needs an encoder of {LAST} or more blocks or stages; "
            f"{type(encoder).__name__} has {spec.depth}."
        )
    if readout.startswith("token:") and readout[6:] not in spec.prefix_tokens:
        raise ValueError(
            f"readout='{readout}': the encoder's prefix_tokens are {list(spec.prefix_tokens)}."
        )
    if readout not in READOUTS and not readout.startswith("token:"):
        raise ValueError(f"readout='{readout}' is unknown; use one of {', '.join(READOUTS)}.")


def readout_width(spec: BackboneSpec, readout: str) -> int:
    """Channels of a readout; see :func:`encode_features`."""
    if readout == "cls-last4":
        return sum(spec.level_channels[-LAST:])
    if readout == "blocks":
        return 2 * max(spec.level_channels)
    return spec.embed_dim * (2 if readout == "cls+mean" else 1)


def read_out(encoded: Encoded, readout: str = "cls") -> Tensor:
    """(R, C') feature of each row.

    'cls' is the class token after the final norm (hierarchical encoders: the mean), 'mean' the
    mean of the patch tokens after the final norm, 'cls+mean' both side by side (DINO, ViT-B),
    'token:NAME' a prefix token. 'cls-last4' and 'blocks' need the tokens of inner blocks: see
    :func:`encode_features`.

    Raises:
        ValueError: an unknown readout.
    """
    if readout == "cls":
        return encoded.cls
    if readout == "mean":
        return encoded.patches.mean(dim=1)
    if readout == "cls+mean":
        return torch.cat([encoded.cls, encoded.patches.mean(dim=1)], dim=1)
    if readout.startswith("token:"):
        return encoded.prefix[readout[6:]]
    raise ValueError(f"readout='{readout}' is unknown; use one of {', '.join(READOUTS)}.")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode, no gradients, nothing compiled; the mode of every part is restored.

    A picture during a training would otherwise wait for graphs of its own to be compiled.
    """
    modes = {part: part.training for part in module.modules()}
    compiled = any(part._compiled_call_impl is not None for part in modes)
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    module.eval()
    try:
        with torch.no_grad(), eager:
            yield
    finally:
        for part, training in modes.items():
            part.training = training


def encode_features(encoder: nn.Module, images: Tensor, readout: str = "cls") -> Tensor:
    """(B, C, H, W) normalised images -> (B, C') features, or (B, D, 2 C) of the D levels.

    'cls-last4' is DINO's: the class tokens of the last four blocks, each after the final norm, side
    by side. 'blocks' is BEiT's: class token and mean of the patches of every block, raw outputs.
    A hierarchical backbone has stages in place of blocks: its class tokens are means of the maps,
    the final norm is that of the last stage alone, and 'blocks' fills narrower stages with zeros.
    """
    if readout not in ("cls-last4", "blocks"):
        return read_out(encoder(images), readout)
    depth = backbone_in(encoder).spec.depth
    levels = tuple(range(depth)[-LAST:] if readout == "cls-last4" else range(depth))
    normed = readout == "cls-last4"
    encoded: Encoded = encoder(images, levels=levels, norm_levels=normed)
    if readout == "cls-last4":
        return torch.cat([encoded.level_cls[level] for level in levels], dim=1)
    pairs = [
        torch.cat([encoded.level_cls[level], _mean(encoded.hierarchy[level])], dim=1)
        for level in levels
    ]
    width = max(pair.shape[1] for pair in pairs)
    return torch.stack([F.pad(pair, (0, width - pair.shape[1])) for pair in pairs], dim=1)


def _mean(features: Tensor) -> Tensor:
    """(B, C) of patches (B, N, C) or a map (B, C, h, w)."""
    return features.mean(dim=1) if features.ndim == 3 else features.mean(dim=(2, 3))


def extract_features(
    encoder: nn.Module,
    dataset: Dataset,
    preprocessor: nn.Module,
    readout: str = "cls",
    batch_size: int = 256,
    workers: int = 0,
    precision: str = "fp32",
    view: int = 0,
) -> Features:
    """Encode one view of every image, in order, in eval mode; the encoder's mode is restored.

    Args:
        encoder: on the device where it shall run.
        dataset: gives samples of ``PackViews``; labels are its ``labels``, (N,) integers.
        preprocessor: a :class:`~mmvitssl.models.data_preprocessor.ViewPreprocessor`, which is
            moved to the encoder's device.
        readout: what of the encoder's output; see :func:`read_out`.
        batch_size: images a pass.
        workers: processes that read images.
        precision: 'fp32', or 'bf16' autocast.
        view: which view of a sample.

    Raises:
        ValueError: an unknown readout or precision, or a number of labels that is not that of
            the images.
    """
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"precision must be 'fp32' or 'bf16', not '{precision}'.")
    check_readout(encoder, readout)
    device = next(encoder.parameters()).device
    preprocessor.to(device)
    # keys in place of indices: images of a bare index draw from torch's global generator
    inner: Any = dataset.dataset if isinstance(dataset, Subset) else dataset
    rows = dataset.indices if isinstance(dataset, Subset) else range(len(inner))
    keys = [SampleKey(int(row)) for row in rows]
    loader: DataLoader[Any] = DataLoader(
        inner,
        batch_size=batch_size,
        sampler=keys,
        num_workers=workers,
        collate_fn=collate_views,
    )
    values, indices, paths = [], [], []
    with evaluating(encoder), torch.autocast(device.type, torch.bfloat16, precision == "bf16"):
        for batch in loader:
            images = preprocessor(batch, False)["views"][view].images
            values.append(encode_features(encoder, images, readout).float().cpu())
            indices.append(batch["samples"]["index"])
            paths += batch["samples"]["path"]
    return Features(torch.cat(values), _labels(dataset, torch.cat(indices)), paths)


def _labels(dataset: Dataset, indices: Tensor) -> Tensor | None:
    labels = getattr(dataset, "labels", None)
    if labels is None:
        return None
    if len(labels) != len(dataset):  # type: ignore[arg-type]
        raise ValueError(
            f"{type(dataset).__name__} has {len(dataset)} images and {len(labels)} labels."  # type: ignore[arg-type]
        )
    return torch.as_tensor(labels, dtype=torch.long)[indices]
