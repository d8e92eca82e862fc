"""Print a config with everything that it inherits, as Python."""

from __future__ import annotations

import argparse

from mmengine.config import DictAction

from mmvitssl.apis.recipes import config_path
from mmvitssl.apis.written_configs import assignment
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.launch import building


def main() -> None:
    """Print as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="a file, or the name of a shipped config (mmvitssl models)")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    args = parser.parse_args()
    with building():
        config = read_config(config_path(args.config), args.cfg_options)
    for key, value in config.to_dict().items():
        print(assignment(key, value))
