"""Measuring training steps: the same step that the runner makes, on synthetic images."""

from mmvitssl.benchmark.measure import Measurement, measure
from mmvitssl.benchmark.step import StepBench, find_config, matmul_rate

__all__ = ["Measurement", "StepBench", "find_config", "matmul_rate", "measure"]
