"""Comparison with recorded outputs of the papers' official code."""

from parity.compare import Agreement, compare_file
from parity.fixture import Fixture

__all__ = ["Agreement", "Fixture", "compare_file"]
