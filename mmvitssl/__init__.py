"""mmvitssl: pretrain Vision Transformers without labels, use them in detection and segmentation.

Importing the package mends what MMEngine cannot know about this environment
(:mod:`mmvitssl.compat`); modules register themselves when their registry first looks for them.
"""

from mmvitssl.compat import prepare_mmengine

__version__ = "0.2.0"

prepare_mmengine()

__all__ = ["__version__"]
