"""Parameters of tests that run on the CPU and, where there is one, on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch

GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
)


def on_devices(values: Iterable[Any], default: Callable[[Any], bool]) -> list[Any]:
    """(value, device) pairs: all on 'cuda'; on 'cpu' those are ``long`` that are no default."""
    values = list(values)
    cpu = [
        pytest.param(v, "cpu", marks=() if default(v) else pytest.mark.long, id=f"{v}-cpu")
        for v in values
    ]
    return [*cpu, *(pytest.param(v, "cuda", marks=GPU, id=f"{v}-cuda") for v in values)]


def devices(cpu: bool = True) -> list[Any]:
    """'cpu', which is ``long`` unless ``cpu``, and 'cuda'."""
    return [pytest.param("cpu", marks=() if cpu else pytest.mark.long),
            pytest.param("cuda", marks=GPU)]  # fmt: skip


def checked(check: Callable[..., str], *arguments: Any) -> None:
    """Run a check of ``gpu_checks``; what it skips is skipped, what it measured is printed."""
    from gpu_checks.report import Skip

    try:
        print(check(*arguments))
    except Skip as reason:
        pytest.skip(str(reason))
