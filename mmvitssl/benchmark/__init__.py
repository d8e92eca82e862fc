"""Measuring training steps and data pipelines: the same that the runner makes."""

from mmvitssl.benchmark.configs import find_config, load_config
from mmvitssl.benchmark.flops import StepFlops
from mmvitssl.benchmark.measure import Measurement, measure
from mmvitssl.benchmark.step import Bench, StepBench, matmul_rate

__all__ = [
    "Bench",
    "Measurement",
    "StepBench",
    "StepFlops",
    "find_config",
    "load_config",
    "matmul_rate",
    "measure",
]
