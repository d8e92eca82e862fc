"""Measuring training steps and data pipelines: the same that the runner makes."""

from benchmark.configs import find_config, load_config
from benchmark.flops import StepFlops
from benchmark.measure import Measurement, measure
from benchmark.step import Bench, StepBench, matmul_rate

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
