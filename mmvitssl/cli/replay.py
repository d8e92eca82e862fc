"""Repeat the step that a training ended with, and name the first value that is not finite."""

from __future__ import annotations

import argparse

from mmengine.config import DictAction

from mmvitssl.apis.recipes import config_path
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.dump import replay
from mmvitssl.engine.launch import building


def main() -> None:
    """Print as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dump", help="non-finite_step<N>_rank<R>.dump of the work folder")
    parser.add_argument("--config", help="of the training, if the model has classes of your own")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    args = parser.parse_args()
    with building():
        config = args.config and read_config(config_path(args.config), args.cfg_options)
        lines = replay(args.dump, config or None)
    print("\n".join(lines))
