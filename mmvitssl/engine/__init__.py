"""Hooks, optimizers, wrappers and launching."""

from mmvitssl.engine import hooks, optim, sharding, wrappers

__all__ = ["hooks", "optim", "sharding", "wrappers"]
