"""Print a config with everything that it inherits, as Python, and where each value comes from."""

from __future__ import annotations

import argparse

from mmengine.config import DictAction

from mmvitssl.apis.config_origins import origins
from mmvitssl.apis.recipes import config_path
from mmvitssl.apis.written_configs import assignment
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.launch import building


def main() -> None:
    """Print as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="a file, or the name of a shipped config (mmvitssl models)")
    parser.add_argument("--no-origins", action="store_true", help="leave out the places of values")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    args = parser.parse_args()
    path = config_path(args.config)
    with building():
        config = read_config(path, args.cfg_options)
    said = {} if args.no_origins else origins(path, config, args.cfg_options or {})
    for key, value in config.to_dict().items():
        for line in said.get(key, ()):
            print(f"# {line}")
        print(assignment(key, value))
