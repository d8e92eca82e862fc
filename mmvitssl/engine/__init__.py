"""Hooks, optimizers, wrappers and launching."""

from mmvitssl.engine import hooks, optim, wrappers

__all__ = ["hooks", "optim", "wrappers"]
