"""Behaviour that is added to MMEngine's loops."""

from mmvitssl.engine.hooks.logs import ReduceLogsHook
from mmvitssl.engine.hooks.momentum import MomentumUpdateHook
from mmvitssl.engine.hooks.pictures import TaskPicturesHook
from mmvitssl.engine.hooks.progress import ProgressHook

__all__ = ["MomentumUpdateHook", "ProgressHook", "ReduceLogsHook", "TaskPicturesHook"]
