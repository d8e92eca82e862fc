"""Pictures, curves and reports as files."""

from mmvitssl.visualization.curves import latest_scalars, plot_curves
from mmvitssl.visualization.report import Report

__all__ = ["Report", "latest_scalars", "plot_curves"]
