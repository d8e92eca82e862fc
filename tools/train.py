#!/usr/bin/env python
"""Train from a config: pretraining, and mmdet and mmseg configs alike."""

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.engine import launch, training


def main() -> None:
    training.train(training.parse(training.parser(__doc__)))


if __name__ == "__main__":
    launch.run_or_explain(main)
