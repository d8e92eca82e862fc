"""Encoders as ONNX files, compared with torch under onnxruntime before anyone relies on them."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmvitssl.checkpoint.safe import CheckpointError
from mmvitssl.extras import missing_extra
from mmvitssl.models.backbones.contract import backbone_in
from mmvitssl.writing import whole

NEEDED = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-3  # of the greatest difference, over the greatest feature
LARGE = 1.9e9  # bytes of weights
BATCHES = (1, 3)  # that are compared; the graph is traced with another


class EncoderOutputs(nn.Module):
    """What an ONNX file gives of an encoder.

    Args:
        encoder: of this package.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) normalised -> (B, C) class token and (B, N, C) patches, after the norm."""
        encoded = self.encoder(images)
        return encoded.cls, encoded.patches


@dataclass(frozen=True)
class OnnxReport:
    """How an ONNX file compares.

    Attributes:
        size: (height, width) of its images in pixels.
        error: the greatest absolute difference of its outputs from torch's.
        magnitude: the greatest absolute value of an output.
    """

    size: tuple[int, int]
    error: float
    magnitude: float


def check_installed() -> None:
    """Raise CheckpointError unless everything for ONNX is installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CheckpointError(missing_extra("ONNX", "export", *missing))


def image_size_of(encoder: nn.Module, wanted: tuple[int, int] | None = None) -> tuple[int, int]:
    """(height, width) in pixels: what is wanted, or what the encoder was built for.

    Raises:
        ValueError: the patch does not divide the wanted size.
    """
    backbone = backbone_in(encoder)
    if wanted is not None:
        backbone.grid_of(wanted)
        return wanted
    return backbone.spec.image_size


def write_onnx(
    encoder: nn.Module,
    out: Path,
    size: tuple[int, int] | None = None,
    described: dict[str, Any] | None = None,
) -> OnnxReport:
    """Write an encoder as ONNX, for any number of images of one size, and compare it.

    Args:
        encoder: with its weights.
        out: the ``.onnx`` file; nothing is left of it if it does not compare.
        size: (height, width) of the images in pixels; None: what the encoder was built for.
        described: kept as JSON in the file's metadata, under ``mmvitssl``.

    Raises:
        CheckpointError: a library is missing, or the outputs differ from torch's.
        ValueError: the patch does not divide the size.
    """
    check_installed()
    if out.suffix != ".onnx":
        raise CheckpointError(f"{out} must end in .onnx.")
    size = image_size_of(encoder, size)
    model = EncoderOutputs(encoder.eval().float())
    channels = backbone_in(model).spec.in_channels
    program = _traced(model, torch.zeros(2, channels, *size))
    program.model.metadata_props["mmvitssl"] = json.dumps(described or {})
    # beyond protobuf's 2 GB the weights go into a second file, whose name is in the first
    large = sum(p.numel() * p.element_size() for p in model.parameters()) > LARGE
    out.parent.mkdir(parents=True, exist_ok=True)
    with nullcontext(out) if large else whole(out) as part:
        program.save(str(part))
        report = compare(model, part, size)
        if not report.error <= TOLERANCE * report.magnitude:
            for written in (part, Path(f"{part}.data")):
                written.unlink(missing_ok=True)
            raise CheckpointError(
                f"The ONNX file's outputs differ from torch's by {report.error:.1e} (their "
                f"greatest value is {report.magnitude:.1e}); nothing was written."
            )
    return report


def _traced(model: nn.Module, images: Tensor) -> Any:
    """The ONNX program of torch's exporter, which speaks of its own deprecations at length."""
    batch = torch.export.Dim("batch")
    # the fused kernels promise memory layouts that do not survive an unknown number of images
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            model,
            (images,),
            input_names=["images"],
            output_names=["cls", "patches"],
            dynamic_shapes={"images": {0: batch}},
            dynamo=True,
            verbose=False,
        )


@torch.no_grad()
def compare(model: nn.Module, path: Path, size: tuple[int, int]) -> OnnxReport:
    """Run an ONNX file under onnxruntime on random images, in several numbers, beside torch."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    error = magnitude = 0.0
    channels = backbone_in(model).spec.in_channels
    for batch in BATCHES:
        images = torch.randn(batch, channels, *size, generator=generator)
        theirs = session.run(None, {"images": images.numpy()})
        for ours, output in zip(model(images), theirs, strict=True):
            difference = (torch.from_numpy(output) - ours).abs().max()
            # a NaN is the greatest of all
            error = max(error, float(torch.nan_to_num(difference, nan=float("inf"))))
            magnitude = max(magnitude, float(ours.abs().max()))
    return OnnxReport(size, error, magnitude)
