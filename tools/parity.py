#!/usr/bin/env python
"""Compare our models with recorded outputs of the official code: one line a file."""

import argparse
import sys

import mmvitssl.compat  # noqa: F401
from mmvitssl.engine import launch
from parity import compare_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE.npz", help="recorded fixtures")
    args = parser.parse_args()
    agreements = []
    for path in args.files:
        agreement = compare_file(path)
        print(agreement.line(), flush=True)
        agreements.append(agreement)
    sys.exit(0 if all(agreement.ok for agreement in agreements) else 1)


if __name__ == "__main__":
    launch.run_or_explain(main)
