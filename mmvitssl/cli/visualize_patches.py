"""Pictures of patch features, and of several methods side by side."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmvitssl.apis.dense_data import ade20k_classes
from mmvitssl.apis.embedding import CROP, ImageModel, load
from mmvitssl.apis.pictures import load_pretrainer
from mmvitssl.checkpoint.named import SOURCES
from mmvitssl.datasets.files import list_images
from mmvitssl.engine.errors import UserError
from mmvitssl.visualization import embedding, patches
from mmvitssl.visualization.curves import run_names
from mmvitssl.visualization.decoder_attention import decoder_maps
from mmvitssl.visualization.decoder_sheet import draw_decoder_maps
from mmvitssl.visualization.reconstruction import draw_comparison, load_batch


def _common(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("checkpoint", help="of a pretraining, a probe, or official")
    parser.add_argument("--config", help="describes the encoder where the checkpoint does not")
    parser.add_argument("--source", choices=SOURCES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=out, help="the PNG to write")


def add_patches(commands: Any) -> None:
    """Add ``visualize patches``."""
    draw = commands.add_parser(
        "patches", help="principal components, clusters and similarity of patch features"
    )
    _common(draw, "work_dirs/pictures/patches.png")
    draw.add_argument("images", nargs="+", metavar="IMAGE")
    draw.add_argument("--clusters", type=int, default=6, help="of k-means (default: 6)")
    draw.add_argument(
        "--query", type=int, nargs=2, metavar=("ROW", "COLUMN"),
        help="patch that the others are compared with (default: the one in the middle)",
    )  # fmt: skip
    draw.set_defaults(run=draw_sheet)


def add_patch_embedding(commands: Any) -> None:
    """Add ``visualize patch-embedding``."""
    draw = commands.add_parser(
        "patch-embedding", help="patch features in two dimensions, coloured by masks"
    )
    _common(draw, "work_dirs/pictures/patch_embedding.png")
    draw.add_argument("images", help="folder of images")
    draw.add_argument("masks", help="folder of masks: same names, PNG, one channel of classes")
    draw.add_argument("--classes", nargs="*", default=[], metavar="NAME", help="names, from 0 on")
    draw.add_argument("--ignore", type=int, default=255, help="class that does not count")
    draw.add_argument("--ade20k", action="store_true",
                      help="0 is no class, and the classes have ADE20K's names")  # fmt: skip
    draw.add_argument("--patches", type=int, default=3000, help="draw at most so many")
    draw.add_argument("--method", choices=embedding.METHODS, default="tsne")
    draw.set_defaults(run=draw_map)


def add_comparison(commands: Any) -> None:
    """Add ``visualize compare``."""
    draw = commands.add_parser(
        "compare", help="what several methods make of the same images, on one sheet"
    )
    draw.add_argument("images", nargs="+", metavar="IMAGE")
    draw.add_argument("--checkpoints", nargs="+", required=True, metavar="CKPT",
                      help="of whole pretraining models")  # fmt: skip
    draw.add_argument("--attention", action="store_true",
                      help="add where the class token of each encoder looks")  # fmt: skip
    draw.add_argument("--seed", type=int, default=0)
    draw.add_argument("--out", default="work_dirs/pictures/compare.png", help="the PNG to write")
    draw.set_defaults(run=draw_methods)


def add_decoder_attention(commands: Any) -> None:
    """Add ``visualize decoder-attention``."""
    draw = commands.add_parser(
        "decoder-attention", help="what a decoder reads to predict one masked patch"
    )
    draw.add_argument("checkpoint", help="of a whole pretraining model, or official with a decoder")
    draw.add_argument("images", nargs="+", metavar="IMAGE")
    draw.add_argument(
        "--patch", type=int, nargs=2, metavar=("ROW", "COLUMN"),
        help="the masked patch that is nearest to it is predicted (default: the middle)",
    )  # fmt: skip
    draw.add_argument("--blocks", type=int, nargs="+", metavar="INDEX",
                      help="layers to draw, from 0 (default: four, evenly)")  # fmt: skip
    draw.add_argument("--seed", type=int, default=0, help="of the masks")
    draw.add_argument("--out", default="work_dirs/pictures/decoder", help="folder for the pictures")
    draw.set_defaults(run=draw_decoder)


def draw_decoder(args: argparse.Namespace) -> Iterator[Path]:
    """Write a sheet per task that has a decoder."""
    _check(args.images)
    model = load_pretrainer(args.checkpoint)
    patch = None if args.patch is None else (args.patch[0], args.patch[1])
    batch = load_batch(model, args.images, args.seed)
    for task, maps in decoder_maps(model, batch, patch).items():
        yield draw_decoder_maps(maps, Path(args.out) / f"{task}.png", args.blocks, print)


def draw_methods(args: argparse.Namespace) -> Iterator[Path]:
    """Write the sheet of several methods."""
    _check(args.images)
    names = run_names(args.checkpoints) if len(args.checkpoints) > 1 else args.checkpoints
    models = {
        name: load_pretrainer(path) for name, path in zip(names, args.checkpoints, strict=True)
    }
    yield draw_comparison(models, args.images, args.out, args.seed, args.attention)


def _check(images: list[str]) -> None:
    for image in images:
        if not Path(image).is_file():
            raise UserError(f"There is no image {Path(image).absolute()}.")


def _encode(model: ImageModel, path: str | Path) -> tuple[Tensor, Tensor]:
    """(C, H, W) pixels as the encoder takes them, and (rows, columns, C') features."""
    pixels = model.transform.pixels(path)
    device = next(model.encoder.parameters()).device
    images = model.preprocessor.normalise(pixels[None].to(device).float() / 255)
    return pixels, patches.patch_features(model.encoder, images)[0].cpu()


def draw_sheet(args: argparse.Namespace) -> Iterator[Path]:
    """Write the sheet of some images."""
    _check(args.images)
    model = load(args.checkpoint, args.config, source=args.source)
    pixels, features = zip(*(_encode(model, image) for image in args.images), strict=True)
    query = None if args.query is None else (args.query[0], args.query[1])
    yield patches.draw_patches(
        torch.stack(pixels).float()[:, :3] / 255, torch.stack(features), args.out, args.clusters,
        query, args.seed,
    )  # fmt: skip


def draw_map(args: argparse.Namespace) -> Iterator[Path]:
    """Write the map of the patches of a folder."""
    names, ignore = tuple(args.classes), args.ignore
    if args.ade20k:
        names, ignore = ("", *ade20k_classes()), 0
    model = load(args.checkpoint, args.config, source=args.source)
    values, labels = [], []
    for path in list_images(args.images):
        mask = Path(args.masks) / Path(path).relative_to(args.images).with_suffix(".png")
        if not mask.is_file():
            raise UserError(f"{path} has no mask: there is no {mask}.")
        pixels, features = _encode(model, path)
        size = (pixels.shape[-2], pixels.shape[-1])
        classes = patches.read_mask(mask, round(min(size) / CROP), size)
        grid = (features.shape[0], features.shape[1])
        labels.append(patches.patch_labels(classes, grid, ignore=ignore))
        values.append(features)
    flat = torch.cat([value.flatten(0, 1) for value in values])
    title = f"{Path(args.checkpoint).stem}: patches of {len(values)} images, {args.method}"
    yield patches.draw_patch_embedding(
        flat, torch.cat([label.flatten() for label in labels]), Path(args.out), title,
        names, args.patches, args.method, args.seed,
    )  # fmt: skip
