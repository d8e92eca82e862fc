"""Arithmetic of batches that is known before the first step."""

from __future__ import annotations

import pytest
from torch import nn

from mmvitssl.engine.batch_sizes import Batches, _check_queues
from mmvitssl.engine.errors import UserError
from mmvitssl.models.heads.contrastive import QueueInfoNCE


@pytest.mark.parametrize(
    ("images", "drop_last", "refused"),
    [(9, False, True), (9, True, False), (14, False, False), (12, False, False), (8, False, False)],
)
def test_an_incomplete_last_batch_must_fit_into_a_queue(
    images: int, drop_last: bool, refused: bool
) -> None:
    """Of 35 keys; batches of 7, so that 2, 5 or 1 images are left."""
    model = nn.ModuleDict({"head": QueueInfoNCE(channels=4, size=35)})
    batches = Batches(images, 1, images, 7, drop_last)
    if not refused:
        return _check_queues(model, batches)
    with pytest.raises(UserError, match="has 2 .* queue of 35 keys of head .*drop_last=True"):
        _check_queues(model, batches)
