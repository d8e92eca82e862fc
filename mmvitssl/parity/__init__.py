"""Comparison with recorded outputs of the papers' official code."""

from mmvitssl.parity.compare import Agreement, compare_file
from mmvitssl.parity.fixture import Fixture

__all__ = ["Agreement", "Fixture", "compare_file"]
