"""Which of many alike cases the default run takes; ``make test-all`` takes all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def some(values: Iterable[Any], default: Callable[[Any], bool]) -> list[Any]:
    """Parameters of a test, those marked ``long`` for which ``default`` does not hold."""
    return [
        value if default(value) else pytest.param(value, marks=pytest.mark.long) for value in values
    ]
