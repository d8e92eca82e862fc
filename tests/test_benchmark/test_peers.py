"""Peers: that they are built, do the same work, and are missed in words."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch

from benchmark import measure
from benchmark.peers import INSTALL, RECIPES, PeerBench
from mmvitssl.engine.launch import UserError
from tests.test_benchmark.small import tiny_bench, tiny_config

installed = pytest.mark.skipif(
    importlib.util.find_spec("mmpretrain") is None,
    reason="requirements/bench.txt is not installed",
)
# Operations beyond ours, which count for more the narrower the model: its MAE projects all patches
# before it drops three quarters, its SimMIM paints all patches and ours the masked ones, and its
# CAE has keys and values of its own for what its regressor reads in vain.
MORE = {"mae": 0.15, "cae": 0.05, "simmim": 0.05}


def test_a_missing_peer_is_an_error_that_names_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mmpretrain", None)
    with pytest.raises(UserError, match="cannot be imported") as caught:
        PeerBench("mae", tiny_config("mae"), 2)
    assert INSTALL in str(caught.value)


@pytest.mark.parametrize(("method", "arch"), [("dino", "ViT-B/16"), ("mocov3", "Swin-T")])
def test_methods_without_a_peer(method: str, arch: str) -> None:
    with pytest.raises(UserError, match=f"no {method} on this encoder.*mae, beit, cae"):
        PeerBench(method, tiny_config(method, arch), 2)


@installed
@pytest.mark.parametrize("method", RECIPES)
def test_a_peer_does_the_same_work(method: str) -> None:
    """As many trained parameters, and operations but for what the peer does in vain."""
    ours = tiny_bench(method)
    peer = PeerBench(method, tiny_config(method), 2, tokenizer_width=8)
    before = {name: p.clone() for name, p in peer.model.named_parameters() if p.requires_grad}
    assert peer.parameters == pytest.approx(ours.parameters, rel=0.01)
    ratio = peer.flops().total / ours.flops().total
    assert 0.99 < ratio < 1.01 + MORE.get(method, 0)
    after = dict(peer.model.named_parameters())
    moved = [name for name, value in before.items() if not torch.equal(after[name], value)]
    assert any(name.startswith("backbone.layers.0") for name in moved)


@installed
def test_ours_and_a_peer_take_turns() -> None:
    config = tiny_config("byol")
    ours, peer = measure([tiny_bench("byol"), PeerBench("byol", config, 2)], repeat=2)
    assert (ours.name, peer.name) == ("byol", "mmpretrain byol")
    assert len(peer.seconds) == 2 and '"against": "byol"' in peer.line(ours)
