"""Train from a config: pretraining, and mmdet and mmseg configs alike."""

from __future__ import annotations

from mmvitssl.apis.recipes import config_path
from mmvitssl.engine import training


def main() -> None:
    """Train as the command line says."""
    args = training.parse(training.parser(__doc__))
    args.config = config_path(args.config)
    training.train(args)
