"""Pretrain an encoder on images without labels; what is not stated is chosen, with reasons."""

from __future__ import annotations

import argparse

from mmvitssl.apis.pretraining import OUT, pretrain
from mmvitssl.apis.recipes import ARCHS


def options() -> argparse.ArgumentParser:
    """Options of ``mmvitssl pretrain``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "images", help="folder (nested or not), zip or tar file, or text file with a path per line"
    )
    parser.add_argument(
        "--method", default="repre", help="such as repre, mae, dino, mocov3 (mmvitssl models)"
    )
    parser.add_argument("--arch", default="vit-small", choices=ARCHS)
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="side of a view")
    parser.add_argument("--epochs", type=int, help="passes over the images")
    parser.add_argument("--batch-size", type=int, help="images per device and step")
    parser.add_argument("--out", default=OUT, help="folder for config, log and checkpoints")
    parser.add_argument(
        "--init", metavar="CKPT",
        help="start from this encoder: a checkpoint, the name of published weights, or an address",
    )  # fmt: skip
    return parser


def main() -> None:
    """Pretrain as the command line says."""
    pretrain(**vars(options().parse_args()), say=lambda line: print(line, flush=True))
