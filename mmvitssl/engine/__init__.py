"""Hooks, optimizers, wrappers and launching."""

from mmvitssl.engine import hooks, loops, optim, sharding, wrappers

__all__ = ["hooks", "loops", "optim", "sharding", "wrappers"]
