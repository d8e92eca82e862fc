"""Behaviour that is added to MMEngine's loops."""

from mmvitssl.engine.hooks.broken import BrokenBudgetHook
from mmvitssl.engine.hooks.checkpoints import FiniteCheckpointHook
from mmvitssl.engine.hooks.collapse import CollapseHook
from mmvitssl.engine.hooks.description import DescriptionHook
from mmvitssl.engine.hooks.finite import NonFiniteError, NonFiniteHook
from mmvitssl.engine.hooks.gradients import GradientCosineHook
from mmvitssl.engine.hooks.health import HealthHook
from mmvitssl.engine.hooks.logs import DeferredLogsHook, ReduceLogsHook
from mmvitssl.engine.hooks.momentum import MomentumUpdateHook
from mmvitssl.engine.hooks.pictures import TaskPicturesHook
from mmvitssl.engine.hooks.predictions import PredictionPicturesHook
from mmvitssl.engine.hooks.probe import FeatureCacheHook, OnlineProbeHook
from mmvitssl.engine.hooks.progress import ProgressHook
from mmvitssl.engine.hooks.randomness import StepSeedHook
from mmvitssl.engine.hooks.report import ReportHook
from mmvitssl.engine.hooks.schedules import FreezeHook, WeightDecayHook
from mmvitssl.engine.hooks.watchdog import WatchdogHook

__all__ = [
    "BrokenBudgetHook",
    "CollapseHook",
    "DeferredLogsHook",
    "DescriptionHook",
    "FeatureCacheHook",
    "FiniteCheckpointHook",
    "FreezeHook",
    "GradientCosineHook",
    "HealthHook",
    "MomentumUpdateHook",
    "NonFiniteError",
    "NonFiniteHook",
    "OnlineProbeHook",
    "PredictionPicturesHook",
    "ProgressHook",
    "ReduceLogsHook",
    "ReportHook",
    "StepSeedHook",
    "TaskPicturesHook",
    "WatchdogHook",
    "WeightDecayHook",
]
