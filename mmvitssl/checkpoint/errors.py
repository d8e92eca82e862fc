"""The error that a user can mend by another file or another config."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and the mend."""
