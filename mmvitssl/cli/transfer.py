"""Train a detector or segmentor on a pretrained encoder; classes are read from the data."""

from __future__ import annotations

import argparse

from mmvitssl.apis.dense_transfer import OUT, TASKS, transfer


def options() -> argparse.ArgumentParser:
    """Options of ``mmvitssl transfer``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=tuple(TASKS))
    parser.add_argument(
        "data", help="folder: instances in COCO's form, or images and masks of labels"
    )
    parser.add_argument(
        "--from", dest="checkpoint", metavar="CKPT", required=True,
        help="a checkpoint, the name of published weights, or an address",
    )  # fmt: skip
    parser.add_argument("--out", default=OUT, help="folder for config, log and checkpoints")
    parser.add_argument("--epochs", type=int, help="passes over the images")
    parser.add_argument("--batch-size", type=int, help="images per device and step")
    parser.add_argument(
        "--image-size", type=int, metavar="PIXELS",
        help="shorter side of images (detectors), side of crops (upernet)",
    )  # fmt: skip
    return parser


def main() -> None:
    """Train as the command line says."""
    transfer(**vars(options().parse_args()), say=lambda line: print(line, flush=True))
