#!/usr/bin/env python
"""Train from a config: pretraining, and mmdet and mmseg configs alike.

``mmvitssl train`` is the same program.
"""

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.cli.train import main
from mmvitssl.engine import launch

if __name__ == "__main__":
    launch.run_or_explain(main)
