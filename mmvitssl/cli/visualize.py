"""Pictures of what a pretrained model does: reconstructions, attention, embeddings, curves."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

import mmvitssl.models.registered  # noqa: F401  (registers what checkpoints describe)
from mmvitssl.checkpoint import check_weights_file, load_encoder, load_strict
from mmvitssl.checkpoint.named import SOURCES
from mmvitssl.checkpoint.onnx_model import image_size_of
from mmvitssl.checkpoint.self_described import rebuild_encoder
from mmvitssl.cli.visualize_patches import (
    add_comparison,
    add_decoder_attention,
    add_patch_embedding,
    add_patches,
)
from mmvitssl.datasets import LoadImage
from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.image_size import resolve_image_size
from mmvitssl.evaluation.features import check_readout, extract_features
from mmvitssl.models.algorithms import ImageClassifier, Pretrainer
from mmvitssl.models.backbones.contract import backbone_in
from mmvitssl.models.data_preprocessor import build_preprocessor
from mmvitssl.registry import DATASETS, MODELS
from mmvitssl.visualization import attention, embedding
from mmvitssl.visualization.curves import draw_runs
from mmvitssl.visualization.reconstruction import draw_reconstructions


def _options(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("--out", default=out, help="folder for the pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")


def _add_reconstruction(commands: Any) -> None:
    draw = commands.add_parser(
        "reconstruction", help="original | masked | reconstruction, a row an image"
    )
    draw.add_argument("config")
    draw.add_argument("checkpoint", help="of the whole pretraining model")
    draw.add_argument("images", nargs="+", metavar="IMAGE")
    _options(draw, "work_dirs/pictures")
    draw.set_defaults(run=reconstruction)


def _add_attention(commands: Any) -> None:
    look = commands.add_parser(
        "attention", help="where the class token, or an attentive probe, looks: a sheet an image"
    )
    look.add_argument("checkpoint", help="of a pretraining, a probe, or official")
    look.add_argument("images", nargs="+", metavar="IMAGE")
    look.add_argument("--config", help="describes the encoder where the checkpoint does not")
    look.add_argument("--source", choices=SOURCES)
    look.add_argument("--block", type=int, default=-1, help="zero-based; -1 (default): the last")
    look.add_argument(
        "--probe", action="store_true", help="of an attentive probe; --config is that of the probe"
    )
    look.add_argument(
        "--size", type=int, help="pixels of the shorter side; by default as in pretraining"
    )
    look.add_argument(
        "--value-range", type=float, nargs=2, metavar=("LOW", "HIGH"),
        help="values in the images that are black and white, as LoadImage.value_range",
    )  # fmt: skip
    look.add_argument(
        "--keep", type=float, nargs="+", default=attention.THRESHOLDS, metavar="SHARE",
        help="shares of the attention that the masks keep",
    )  # fmt: skip
    _options(look, "work_dirs/pictures/attention")
    look.set_defaults(run=attend)


def _add_embedding(commands: Any) -> None:
    embed = commands.add_parser("embedding", help="features of images in two dimensions")
    embed.add_argument("config", help="as for tools/knn.py: configs/probe/knn_...")
    embed.add_argument("checkpoint", help="of a pretraining, or official; 'random' for none")
    embed.add_argument("--source", choices=SOURCES)
    embed.add_argument(
        "--data", nargs="+", default=["queries"], metavar="NAME",
        help="data sets of the config (queries, bank); a picture each",
    )  # fmt: skip
    embed.add_argument("--method", choices=embedding.METHODS, default="tsne")
    embed.add_argument("--images", type=int, default=2000, help="draw at most so many")
    embed.add_argument("--thumbnails", action="store_true", help="put some images on the map")
    embed.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    _options(embed, "work_dirs/pictures/embedding")
    embed.set_defaults(run=embedded)


def _add_curves(commands: Any) -> None:
    plot = commands.add_parser("curves", help="what runs logged: a figure a metric, and all on one")
    plot.add_argument("runs", nargs="+", metavar="RUN", help="work folder")
    plot.add_argument(
        "--smooth", type=float, default=0.0, help="weight of the past, in [0, 1); 0: as logged"
    )
    plot.add_argument("--metrics", metavar="REGEX", help="only what fits, such as 'loss|accuracy'")
    plot.add_argument("--out", default="work_dirs/pictures/curves", help="folder for the pictures")
    plot.set_defaults(run=curves)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (
        _add_reconstruction, _add_attention, _add_embedding, _add_curves, add_patches,
        add_patch_embedding, add_comparison, add_decoder_attention,
    ):  # fmt: skip
        add(commands)
    return parser.parse_args()


def check_images(images: list[str]) -> None:
    for image in images:
        if not Path(image).is_file():
            raise launch.UserError(f"There is no image {Path(image).absolute()}.")


def build(args: argparse.Namespace) -> Any:
    """The model of the config with the weights of the checkpoint."""
    check_weights_file(args.checkpoint)
    config = read_config(args.config, args.cfg_options)
    launch.prepare_scope(config)
    model = MODELS.build(config.model)
    if isinstance(model, Pretrainer):
        model.load_frozen()
    load_strict(model, args.checkpoint)
    return model


def reconstruction(args: argparse.Namespace) -> list[Path]:
    check_images(args.images)
    model = build(args)
    if not isinstance(model, Pretrainer):
        raise launch.UserError(f"{args.config} describes a {type(model).__name__}, no Pretrainer.")
    load = image_loader(args.config, args.cfg_options)
    return draw_reconstructions(model, args.images, args.out, args.seed, load)


def image_loader(path: str, options: dict[str, Any] | None) -> LoadImage | None:
    """How the training of a config decodes images; None: it does not say."""
    dataset = read_config(path, options).get("train_dataloader", {}).get("dataset", {})
    for step in dataset.get("pipeline", ()):
        if str(step.get("type")).endswith("LoadImage"):
            keys = ("channels", "value_range", "max_pixels")
            return LoadImage(**{key: step[key] for key in keys if key in step})
    return None


def _attending(args: argparse.Namespace) -> tuple[Any, Any, Any, str]:
    """The encoder, its preprocessor, (B, 3, H, W) -> (B, heads, rows, columns), and of what."""
    if args.probe:
        if args.config is None:
            raise launch.UserError("--probe needs --config, the config of the probe.")
        model = build(args)
        if not isinstance(model, ImageClassifier):
            raise launch.UserError(
                f"{args.config} describes a {type(model).__name__}, no ImageClassifier."
            )
        look = lambda images: attention.probe_attention(model, images)  # noqa: E731
        return model.encoder, model.data_preprocessor, look, "attentive probe"
    encoder, said = rebuild_encoder(
        args.checkpoint, args.config, args.source, options=args.cfg_options
    )
    attention.check_encoder(encoder)
    block = attention.check_block(encoder, args.block)
    look = lambda images: attention.class_attention(encoder, images, block)  # noqa: E731
    words = f"class token, block {block} of 0..{backbone_in(encoder).spec.depth - 1}"
    return encoder, build_preprocessor(said.preprocessor), look, words


def attend(args: argparse.Namespace) -> Iterator[Path]:
    check_images(args.images)
    for share in args.keep:
        attention.kept_mass(torch.ones(1, 1), share)
    names = sheet_names(args.images)
    encoder, preprocessor, look, words = _attending(args)
    side = args.size or min(image_size_of(encoder))
    spec = backbone_in(encoder).spec
    load = LoadImage(channels=spec.in_channels, value_range=args.value_range)
    for path, name in zip(args.images, names, strict=True):
        pixels = attention.load_image(path, side, spec.patch_size, load)
        maps = look(preprocessor.normalise(pixels[None].float() / 255))[0]
        title = f"{Path(path).name}, {pixels.shape[-2]}x{pixels.shape[-1]} pixels: {words}"
        yield attention.draw_attention(pixels, maps, Path(args.out) / name, title, args.keep)


def sheet_names(images: list[str]) -> list[str]:
    """A file name an image; images of one name in several folders are numbered."""
    names: list[str] = []
    for i, image in enumerate(images):
        stem = Path(image).stem
        taken = sum(Path(other).stem == stem for other in images) > 1
        names.append(f"{stem}_{i}.png" if taken else f"{stem}.png")
    return names


def embedded(args: argparse.Namespace) -> Iterator[Path]:
    embedding.check_method(args.method)
    if not Path(args.config).is_file():
        raise launch.UserError(f"There is no config {Path(args.config).absolute()}.")
    config: Any = Config.fromfile(args.config)
    config.merge_from_dict(args.cfg_options or {})
    resolve_image_size(config)
    init_default_scope(launch.prepare_scope(config))
    missing = [key for key in ("encoder", *args.data) if key not in config]
    if missing:
        raise launch.UserError(f"{args.config} has no {', '.join(missing)}.")
    encoder = MODELS.build(config.encoder)
    readout = config.get("readout", "cls")
    check_readout(encoder, readout)
    datasets = {name: DATASETS.build(config[name]) for name in args.data}
    preprocessor = build_preprocessor(config.get("data_preprocessor"))
    if args.checkpoint != "random":
        load_encoder(encoder, args.checkpoint, args.source, print, preprocessor)
    encoder.to(args.device)
    how = dict(batch_size=config.get("batch_size", 256), workers=config.get("workers", 0))
    for name, dataset in datasets.items():
        part, indices = embedding.choose(dataset, args.images, args.seed)
        features = extract_features(encoder, part, preprocessor, readout, **how)
        points = embedding.project(features.values, args.method, args.seed)
        labels = getattr(dataset, "labels", None)
        yield embedding.draw_embedding(
            points,
            None if labels is None else labels[indices],
            Path(args.out) / f"{name}_{args.method}.png",
            f"{Path(args.checkpoint).stem}: {len(indices)} images of {name}, {readout}, "
            f"{args.method}",
            tuple(getattr(dataset, "classes", ())),
            embedding.thumbnails(dataset, indices, points) if args.thumbnails else None,
        )


def curves(args: argparse.Namespace) -> list[Path]:
    return draw_runs(args.runs, args.out, args.smooth, args.metrics)


def main() -> None:
    args = parse_args()
    with launch.building():
        for path in args.run(args):
            print(f"wrote {path}")
