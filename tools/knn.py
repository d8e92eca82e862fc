#!/usr/bin/env python
"""Accuracy of nearest neighbours, and of logistic regression, on the features of a checkpoint.

``mmvitssl knn`` is the same program.
"""

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.cli.knn import main
from mmvitssl.engine import launch

if __name__ == "__main__":
    launch.run_or_explain(main)
