#!/usr/bin/env python
"""Look into checkpoints, and convert them from and to other code bases.

``mmvitssl checkpoint`` is the same program.
"""

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.cli.checkpoint import main
from mmvitssl.engine import launch

if __name__ == "__main__":
    launch.run_or_explain(main)
