"""Safe and strict reading of checkpoints."""

from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.locate import check_weights_file
from mmvitssl.checkpoint.safe import load_file
from mmvitssl.checkpoint.strict import LoadReport, load_encoder, load_strict

__all__ = [
    "CheckpointError",
    "LoadReport",
    "check_weights_file",
    "load_encoder",
    "load_file",
    "load_strict",
]
