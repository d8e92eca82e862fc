"""Demo data: scenes of labelled objects over real photographs, written as users' data are."""

from demo.objects import CLASSES, PALETTE
from demo.writers import DemoData, make_demo_data

__all__ = ["CLASSES", "PALETTE", "DemoData", "make_demo_data"]
