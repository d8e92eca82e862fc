#!/usr/bin/env python
"""Pictures of what a pretrained model does: reconstructions, attention, embeddings, curves.

``mmvitssl visualize`` is the same program.
"""

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.cli.visualize import main
from mmvitssl.engine import launch

if __name__ == "__main__":
    launch.run_or_explain(main)
