"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def mmvitssl_scope() -> Iterator[None]:
    """Names in configs are looked up in mmvitssl, and random numbers start from one seed."""
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        torch.manual_seed(0)
        yield
