"""Look into checkpoints, and convert them from and to other code bases."""

import argparse
from pathlib import Path

import mmvitssl.models.registered  # noqa: F401  (registers what checkpoints describe)
from mmvitssl.checkpoint.convert import OWN_FORMATS, export_file, import_file, inspect_file
from mmvitssl.checkpoint.formats import FORMATS
from mmvitssl.engine import launch
from mmvitssl.models.tokenizers.official import convert_dalle


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    look = commands.add_parser("inspect", help="print what a checkpoint holds")
    look.add_argument("files", nargs="+")

    take = commands.add_parser("import", help="outside checkpoint -> checkpoint of this package")
    take.add_argument("file")
    take.add_argument("out")
    take.add_argument("--format", choices=sorted(FORMATS), help="recognised if left out")

    give = commands.add_parser("export", help="checkpoint of this package -> outside checkpoint")
    give.add_argument("file")
    give.add_argument("out", help=".safetensors, a torch file, or .onnx")
    give.add_argument("--format", choices=sorted([*FORMATS, *OWN_FORMATS]), required=True)
    give.add_argument("--encoder-only", action="store_true", help="leave out decoders and heads")
    give.add_argument(
        "--finetune", action="store_true", help="the format's conventions for fine-tuning"
    )
    give.add_argument("--source", choices=("online", "target"), default="online")
    give.add_argument(
        "--image-size",
        type=int,
        nargs="+",
        metavar="PIXELS",
        help="side, or height and width: of pretraining for tables that are made (224), of the "
        "images for ONNX (the encoder's own)",
    )
    give.add_argument("--config", help="describes the encoder where the checkpoint does not")

    dalle = commands.add_parser("convert-dalle", help="DALL-E's tokenizer -> tokenizer file")
    dalle.add_argument("encoder", help="encoder.pkl")
    dalle.add_argument("out", help="the .safetensors file to write")
    dalle.add_argument("--decoder", help="decoder.pkl, for pictures")
    dalle.add_argument("--trust", action="store_true", help="run code from the official files")
    return parser.parse_args()


def export(args: argparse.Namespace) -> list[str]:
    size = args.image_size
    if size is not None and len(size) > 2:
        raise launch.UserError("--image-size takes one number of pixels, or height and width.")
    with launch.building():
        return export_file(
            args.file, args.out, args.format, args.encoder_only, args.finetune, args.source,
            None if size is None else (size[0], size[-1]), args.config,
        )  # fmt: skip


def main() -> None:
    args = parse_args()
    if args.command == "inspect":
        for path in args.files:
            print("\n".join(inspect_file(path)))
    elif args.command == "import":
        print("\n".join(import_file(args.file, args.out, args.format)))
    elif args.command == "export":
        print("\n".join(export(args)))
    else:
        if Path(args.out).suffix != ".safetensors":
            raise launch.UserError(f"{args.out} must end in .safetensors.")
        tokenizer = convert_dalle(args.encoder, args.out, args.decoder, args.trust)
        print(f"wrote a tokenizer of {tokenizer.vocabulary} ids to {args.out}")
