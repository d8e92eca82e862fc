"""Checkpoints as models of images: one vector per image, whatever the image comes as."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmvitssl.apis.sources import ImageSource, open_source
from mmvitssl.checkpoint.onnx_model import image_size_of
from mmvitssl.checkpoint.self_described import rebuild_encoder
from mmvitssl.datasets.files import BrokenImageError
from mmvitssl.datasets.images import compose
from mmvitssl.datasets.multiview import LoadImage, to_tensor
from mmvitssl.engine.launch import prepare_scope
from mmvitssl.evaluation.features import check_readout, encode_features, evaluating
from mmvitssl.models.backbones.contract import backbone_in
from mmvitssl.models.data_preprocessor import build_preprocessor

CROP = 224 / 256  # the middle that is left of the shorter side


@dataclass(frozen=True)
class Embeddings:
    """One vector per image.

    Attributes:
        values: (N, C) float32.
        names: N paths, or names inside of an archive.
        broken: names of images that cannot be read, and why; they have no vector.
    """

    values: np.ndarray
    names: list[str]
    broken: dict[str, str] = field(default_factory=dict)


class Transform:
    """Prepare an image for the encoder: resize, cut out the middle, normalise.

    Args:
        size: height and width of the result in pixels.
        channels: of the result.
        preprocessor: normalises pixels in [0, 1].
    """

    def __init__(self, size: tuple[int, int], channels: int, preprocessor: Any) -> None:
        self.size, self.channels, self.preprocessor = size, channels, preprocessor
        self.load = LoadImage(channels=channels)
        self.steps = compose(
            [
                dict(type="mmvitssl.Resize", size=round(min(size) / CROP), interpolation="bicubic"),
                dict(type="mmvitssl.CenterCrop", size=size),
            ]
        )

    def pixels(self, image: Any, file: Any = None) -> Tensor:
        """(C, H, W) uint8 of a path, a PIL image or an (H, W) or (H, W, C) uint8 array.

        Raises:
            TypeError: anything else.
            ValueError: an array of other channels than the encoder's.
            BrokenImageError: a file that cannot be read.
        """
        rng = np.random.default_rng(0)
        picture = self._picture(image, file)
        for step in self.steps:
            picture = step(picture, rng)
        return to_tensor(picture)

    def _picture(self, image: Any, file: Any) -> Any:
        if isinstance(image, (str, Path)):
            source = {"path": str(image)} if file is None else {"path": str(image), "file": file}
            return self.load(source)["image"]
        if isinstance(image, Image.Image):
            return image.convert({1: "L", 3: "RGB"}.get(self.channels, image.mode))
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3):
            kind = getattr(image, "dtype", "")
            raise TypeError(
                f"An image is a path, a PIL image or an (H, W, C) array of uint8, not "
                f"{type(image).__name__} {kind}".rstrip()
                + "."
            )
        array = np.atleast_3d(image)
        if array.shape[2] == 1 and self.channels == 3:
            array = np.repeat(array, 3, axis=2)
        if array.shape[2] != self.channels:
            raise ValueError(
                f"The encoder takes {self.channels} channel(s), and the array has "
                f"{array.shape[2]}: it must be (H, W, {self.channels})."
            )
        return Image.fromarray(array) if self.channels == 3 else array

    def __call__(self, image: Any) -> Tensor:
        """(C, H, W) float32, normalised; see :meth:`pixels`."""
        scaled = self.pixels(image)[None].float() / 255
        normalised: Tensor = self.preprocessor.normalise(scaled)[0]
        return normalised


class _Files(Dataset):
    """Images of a source as uint8 tensors; a string says why one cannot be read."""

    def __init__(self, source: ImageSource, transform: Transform) -> None:
        self.source, self.transform = source, transform

    def __len__(self) -> int:
        return len(self.source.names)

    def __getitem__(self, index: int) -> tuple[str, Tensor | str]:
        name = self.source.names[index]
        archive = self.source.archive
        try:
            file = None if archive is None else BytesIO(archive.read(name))
            return name, self.transform.pixels(name, file)
        except BrokenImageError as error:
            return name, str(error)


class ImageModel(nn.Module):
    """The encoder of a checkpoint, in evaluation mode, and how it takes images.

    ``model("photo.jpg")``, ``model(Image.open(...))``, ``model(array)`` and ``model(tensor)``
    return features (N, C); a folder, an archive or a list of images goes through :meth:`embed`.

    Args:
        encoder: of this package.
        preprocessor: normalises pixels in [0, 1].
        readout: what of the encoder's output; see
            :func:`~mmvitssl.evaluation.features.read_out`.

    Attributes:
        transform: image -> (C, H, W) normalised tensor.
    """

    encoder: nn.Module
    preprocessor: Any

    def __init__(self, encoder: nn.Module, preprocessor: nn.Module, readout: str = "cls") -> None:
        super().__init__()
        check_readout(encoder, readout)
        self.encoder, self.preprocessor, self.readout = encoder, preprocessor, readout
        channels = backbone_in(encoder).spec.in_channels
        self.transform = Transform(image_size_of(encoder), channels, preprocessor)
        self.eval()

    def forward(self, images: Any) -> Tensor:
        """(N, C) features, on the CPU unless normalised tensors were given.

        Args:
            images: a normalised (B, C, H, W) tensor; a path, PIL image or uint8 array; a folder,
                archive or list file; or a sequence of images.
        """
        if isinstance(images, Tensor):
            with evaluating(self.encoder):
                return encode_features(self.encoder, images, self.readout).float()
        if isinstance(images, (str, Path)):
            found = self.embed(images)
            if found.broken:
                raise BrokenImageError("; ".join(found.broken.values()))
            return torch.from_numpy(found.values)
        single = isinstance(images, (Image.Image, np.ndarray))
        several = [images] if single else images
        return self._encode(torch.stack([self.transform.pixels(one) for one in several])).cpu()

    def _encode(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, C') float32."""
        device = next(self.encoder.parameters()).device
        self.preprocessor.to(device)
        images = self.preprocessor.normalise(pixels.to(device).float() / 255)
        with evaluating(self.encoder):
            return encode_features(self.encoder, images, self.readout).float()

    def batches(
        self, source: ImageSource, batch_size: int, workers: int
    ) -> Iterator[tuple[list[str], Tensor, dict[str, str]]]:
        """Names and features of the images of a batch, and what cannot be read of it."""
        loader = DataLoader(
            _Files(source, self.transform), batch_size, num_workers=workers, collate_fn=list
        )
        for samples in loader:
            broken = {name: why for name, why in samples if isinstance(why, str)}
            good = [(name, image) for name, image in samples if not isinstance(image, str)]
            if good:
                features = self._encode(torch.stack([image for _, image in good])).cpu()
            else:
                features = torch.empty(0, 0)
            yield [name for name, _ in good], features, broken

    def embed(
        self, images: str | Path | Sequence[str], batch_size: int = 64, workers: int = 0
    ) -> Embeddings:
        """Features of all images of a folder, archive, list file, or of a list of paths.

        Args:
            images: where they are.
            batch_size: images per pass.
            workers: processes that read images.

        Raises:
            FileNotFoundError: there is no image.
            BrokenImageError: none of them can be read.
        """
        if isinstance(images, (str, Path)):
            source = open_source(images)
        else:
            source = ImageSource(Path(), "list", [str(image) for image in images])
        return self.embed_source(source, batch_size, workers)

    def embed_source(
        self, source: ImageSource, batch_size: int = 64, workers: int = 0
    ) -> Embeddings:
        """Features of the images of a source; see :meth:`embed`."""
        names: list[str] = []
        values, broken = [], {}
        for good, features, bad in self.batches(source, batch_size, workers):
            names += good
            broken.update(bad)
            if good:
                values.append(features)
        if not values:
            raise BrokenImageError(
                f"None of the {len(source.names)} images in {source.path} can be read: "
                f"{next(iter(broken.values()), 'there is none')}"
            )
        return Embeddings(torch.cat(values).numpy(), names, broken)


def _silent(line: str) -> None:
    """Takes a report that nobody asked for."""


def load(
    checkpoint: str | Path,
    config: str | Path | None = None,
    device: str | None = None,
    readout: str = "cls",
    source: str | None = None,
) -> ImageModel:
    """Load the encoder of a checkpoint as a model of images, in evaluation mode.

    Args:
        checkpoint: of this package, or an official one: a path, the name of published weights
            (:data:`~mmvitssl.checkpoint.published.PUBLISHED`), or an address.
        config: describes an encoder of your own; one of this package needs none.
        device: where it runs; None: on the GPU if there is one.
        readout: 'cls', 'mean', ...: see :func:`~mmvitssl.evaluation.features.read_out`.
        source: which encoder of the checkpoint; see :func:`~mmvitssl.checkpoint.load_encoder`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it cannot be downloaded, nothing describes its encoder, the config
            contradicts it, or the weights do not fit.
        ValueError: a readout that the encoder does not have.
    """
    prepare_scope(Config())
    chosen: dict[str, Any] = {} if source is None else {"source": source}
    encoder, description = rebuild_encoder(str(checkpoint), config, log=_silent, **chosen)
    for note in description.notes:
        warnings.warn(note, stacklevel=2)
    model = ImageModel(encoder, build_preprocessor(description.preprocessor), readout)
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def embed(
    images: str | Path | Sequence[str], checkpoint: str | Path | ImageModel, **options: Any
) -> Embeddings:
    """Compute features of images with the encoder of a checkpoint.

    Args:
        images: a folder, archive, list file, or a list of paths.
        checkpoint: as :func:`load` takes it, or what it returned.
        options: ``config``, ``device``, ``readout`` and ``source`` of :func:`load`,
            ``batch_size`` and ``workers`` of :meth:`ImageModel.embed`.
    """
    how = {key: options.pop(key) for key in ("batch_size", "workers") if key in options}
    model = checkpoint if isinstance(checkpoint, ImageModel) else load(checkpoint, **options)
    return model.embed(images, **how)
