"""Checkpoints that say how their encoder is built."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmvitssl.checkpoint.description import find_encoder
from mmvitssl.checkpoint.safe import OWN_METADATA
from mmvitssl.registry import HOOKS


@HOOKS.register_module()
class DescriptionHook(Hook):
    """Write the encoder's description, as JSON, into the ``meta`` of every checkpoint.

    It holds the configs of encoder and normalisation, the readout, and the types of the pretext
    tasks. Export and pictures build the encoder from it; the text of the config, which MMEngine
    saves too, is a program and is not run. Models without an encoder of this package, and
    configs with values that JSON has no place for, get none; the latter is logged once.
    """

    def __init__(self) -> None:
        self.warned = False

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        found = find_encoder(runner.cfg.to_dict())
        if found is None:
            return
        try:
            checkpoint["meta"][OWN_METADATA] = found.to_json()
        except TypeError as error:
            if not self.warned:
                runner.logger.warning(
                    f"Checkpoints do not say how their encoder is built ({error}): tools that read "
                    f"them need --config."
                )
            self.warned = True
