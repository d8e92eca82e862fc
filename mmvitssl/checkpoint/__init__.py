"""Safe and strict reading of checkpoints."""

from mmvitssl.checkpoint.safe import CheckpointError, load_file
from mmvitssl.checkpoint.strict import LoadReport, load_encoder, load_strict

__all__ = ["CheckpointError", "LoadReport", "load_encoder", "load_file", "load_strict"]
