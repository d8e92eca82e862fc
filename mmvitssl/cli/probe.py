"""Accuracy of a probe, or of fine-tuning, on labelled images, from a pretrained encoder."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmvitssl.apis.probing import KINDS, OUT, probe
from mmvitssl.apis.recipes import config_path
from mmvitssl.engine import training
from mmvitssl.engine.launch import UserError


def options() -> argparse.ArgumentParser:
    """Options of ``mmvitssl probe``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "data", help="folder with one sub-folder per class, or with train and val that have them; "
        "or a config, such as probe/linear-mae_vit-base_32xb512-cosine-90e_in1k.py",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="checkpoint", metavar="CKPT", required=True,
        help="a checkpoint, the name of published weights, or an address",
    )  # fmt: skip
    parser.add_argument("--kind", choices=tuple(KINDS), default="linear")
    parser.add_argument("--out", default=OUT, help="folder for config, log and checkpoints")
    parser.add_argument("--epochs", type=int, help="passes over the images")
    parser.add_argument("--batch-size", type=int, help="images per step")
    return parser


def main() -> None:
    """Probe as the command line says."""
    args = options().parse_args()
    config = config_path(args.data)
    if not config.endswith(".py"):
        probe(**vars(args), say=lambda line: print(line, flush=True))
        return
    for name in ("epochs", "batch_size"):
        if getattr(args, name) is not None:
            raise UserError(
                f"--{name.replace('_', '-')} is for folders; a config says it: mmvitssl train "
                f"{args.data} --pretrained {args.checkpoint} --cfg-options KEY=VALUE."
            )
    words = [config, "--pretrained", args.checkpoint, "--work-dir", str(Path(args.out))]
    training.train(training.parser(None).parse_args(words))
