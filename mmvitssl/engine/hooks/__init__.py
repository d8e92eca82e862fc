"""Behaviour that is added to MMEngine's loops."""

from mmvitssl.engine.hooks.logs import ReduceLogsHook
from mmvitssl.engine.hooks.momentum import MomentumUpdateHook
from mmvitssl.engine.hooks.pictures import TaskPicturesHook

__all__ = ["MomentumUpdateHook", "ReduceLogsHook", "TaskPicturesHook"]
