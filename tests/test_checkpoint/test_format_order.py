"""The format of a checkpoint follows from its keys, not from the order in which formats stand."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmvitssl.checkpoint import formats
from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.formats import FORMATS, recognise
from mmvitssl.checkpoint.safe import load_file
from tests.test_checkpoint import test_contrastive_formats as contrastive
from tests.test_checkpoint import test_formats as masked
from tests.test_checkpoint import test_latent_formats as latent
from tests.test_checkpoint import test_layouts as layouts
from tests.test_checkpoint import test_self_described as described

State = dict[str, Tensor]


def described_state(name: str, folder: Path) -> State:
    described.official(name, folder / "file.pth")
    content = load_file(folder / "file.pth")
    wrapper = FORMATS[name].wrapper
    return content[wrapper] if wrapper else content


def layouts_of_all(folder: Path) -> Iterator[tuple[str, Callable[[], State]]]:
    """Format and maker of each recorded or synthetic layout."""
    yield from layouts.CASES.items()
    for cases in (masked.CASES, contrastive.CASES):
        yield from ((name, make) for name, make, _ in cases.values())
    for name, method in latent.CASES.items():
        yield name, lambda method=method: latent.official(method)
    for name in described.CASES:
        yield name, lambda name=name: described_state(name, folder)


def test_any_order_of_the_formats_recognises_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [(name, make()) for name, make in layouts_of_all(tmp_path)]
    assert {name for name, _ in states} == set(FORMATS)
    random.seed(0)
    orders = [list(FORMATS), list(FORMATS)[::-1]]
    orders += [random.sample(list(FORMATS), len(FORMATS)) for _ in range(3)]
    several = 0
    for order in orders:
        monkeypatch.setattr(formats, "FORMATS", {name: FORMATS[name] for name in order})
        for name, state in states:
            found = recognise(state)
            assert found is not None and found.name == name, (order, name)
            several += sum(format.recognises(state) for format in FORMATS.values()) > 1
    assert several  # some fit several formats, so that the rule is needed


def test_two_formats_that_fit_equally_well_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = replace(FORMATS["mae"], name="mae-twin")
    monkeypatch.setitem(FORMATS, "mae-twin", twin)
    state = masked.CASES["mae"][1]()
    with pytest.raises(CheckpointError, match="mae and mae-twin equally well: name one by"):
        recognise(state)
    more = replace(twin, signature=(*twin.signature, "mine$"))
    monkeypatch.setitem(FORMATS, "mae-twin", more)
    assert recognise(state) is FORMATS["mae"]
    found = recognise({**state, "mine": torch.zeros(1)})
    assert found is more
