#!/usr/bin/env python
"""Evaluate a checkpoint: pretext losses, top-1 and top-5, box and mask AP, mIoU, by config.

``mmvitssl test`` is the same program.
"""

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.cli.test import main
from mmvitssl.engine import launch

if __name__ == "__main__":
    launch.run_or_explain(main)
