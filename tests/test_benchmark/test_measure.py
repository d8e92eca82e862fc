"""Configs by name, turns of several benches, memory and the numbers of a line."""

from __future__ import annotations

import json
import statistics
import sys

import pytest
import torch

from benchmark import Measurement, find_config, load_config, matmul_rate, measure
from benchmark.configs import view_sizes
from benchmark.memory import can_measure
from benchmark.step import Bench
from mmvitssl.registry import MODELS
from tests.test_benchmark.small import METHODS, tiny_bench
from tests.test_tools.programs import ROOT, run

MIB = 2**20
CPU = torch.device("cpu")
needs_kernel = pytest.mark.skipif(not can_measure(CPU), reason="the kernel resets no peak here")


class Recorder(Bench):
    """Writes down its steps."""

    batch_size, device, parameters = 4, CPU, 10  # type: ignore[assignment]

    def __init__(self, name: str, record: list[str]) -> None:
        self.name, self.record = name, record

    def step(self) -> None:
        self.record.append(self.name)
        torch.ones(8, 8) @ torch.ones(8, 8)

    def peak_bytes(self) -> int:
        return MIB


def made(name: str, *seconds: float, flops: int = 8 * 10**9, peak: int | None = MIB) -> Measurement:
    return Measurement(name, seconds, 16, 1000, flops, 1e11, peak)


@pytest.mark.parametrize("arch", ["ViT-S/16", "ViT-B/16"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_both_archs(method: str, arch: str) -> None:
    found = load_config(method, arch).model.encoder.arch
    name = found if isinstance(found, str) else found.base
    assert name == {"S": "small", "B": "base"}[arch[4]]


@pytest.mark.parametrize("method", ["beit", "simmim"])
def test_methods_without_a_small_config_are_narrowed(method: str) -> None:
    with pytest.raises(ValueError, match="No config"):
        find_config(method, "ViT-S/16")
    model = MODELS.build(load_config(method, "ViT-S/16").model)
    assert model.encoder.embed_dim == 384
    assert sum(p.numel() for p in model.encoder.parameters()) < 23e6


def test_images_of_another_size() -> None:
    config = load_config("beit", "ViT-B/16", 448)
    assert view_sizes(config) == [(448, 448), (224, 224)]  # the tokenizer's stays half of it
    mae = load_config("mae", "ViT-B/16", 320)
    assert view_sizes(mae) == [(320, 320)]
    dino = view_sizes(load_config("dino", "ViT-S/16", 112))
    assert dino == [(112, 112)] * 2 + [(48, 48)] * (len(dino) - 2)


@pytest.mark.parametrize(
    ("method", "arch", "size", "message"),
    [
        ("mea", "ViT-B/16", None, "No config mea/.*--method mea.*lomar-beit, mae"),
        ("mae", "ViT-B", None, "--arch ViT-B is unknown; use one of ViT-S/16"),
        ("mae", "Swin-T", None, "No config mae/mae_swin-tiny"),
        ("mae", "ViT-B/16", 100, "--image-size 100 cannot be cut into patches of 16.*use 96"),
    ],
)
def test_what_does_not_exist(method: str, arch: str, size: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(method, arch, size)


def test_benches_take_turns_and_swap_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["benchmark.measure"]
    monkeypatch.setattr(module, "matmul_rate", lambda *_: 1e9)
    record: list[str] = []
    a, b = measure([Recorder("a", record), Recorder("b", record)], repeat=3, warmup=1)
    assert "".join(record) == "aa" + "bb" + "ab" + "ba" + "ab"
    assert (a.name, b.name) == ("a", "b") and len(a.seconds) == len(b.seconds) == 3
    assert a.flops == 2 * 8**3


def test_numbers_of_a_line() -> None:
    values = json.loads(made("mae", 0.2, 0.1, 0.4).line())
    assert values == {
        "method": "mae", "median_s": 0.2, "min_s": 0.1, "images_per_s": 80.0, "parameters": 1000,
        "gflops": 8.0, "mfu": 0.4, "matmul_gflops_per_s": 100.0, "peak_mib": 1,
    }  # fmt: skip
    assert made("mae", 0.1).mfu == pytest.approx(8e9 / 0.1 / 1e11)
    assert json.loads(made("mae", 0.2, peak=None).line())["peak_mib"] is None


def test_ratios_are_of_steps_side_by_side() -> None:
    ours = made("mae", 1.0, 2.0, 4.0)
    peer = made("peer", 3.0, 4.0, 4.0, flops=16 * 10**9, peak=3 * MIB)
    values = json.loads(peer.line(ours))
    assert values["against"] == "mae"
    assert values["time_ratio"] == statistics.median([3.0, 2.0, 1.0])
    assert (values["min_ratio"], values["flops_ratio"], values["peak_ratio"]) == (3.0, 2.0, 3.0)


def test_rate_of_products_is_that_of_the_type() -> None:
    assert matmul_rate("cpu", "fp32", size=64, seconds=0.001) > 1e6
    assert matmul_rate("cpu", "bf16", size=64, seconds=0.001) > 1e6


GROWTH = """
import torch
from benchmark.memory import growth
MIB = 2**20
kept = torch.ones(64 * MIB // 4)  # in use before: does not count
def work():
    first = torch.ones(48 * MIB // 4)
    del first
    torch.ones(96 * MIB // 4)
print('GREW', growth(work, torch.device('cpu')) / MIB)
"""


@needs_kernel
def test_growth_is_the_peak_of_what_is_touched() -> None:
    """In a process of its own: what other tests leave in the allocator would count."""
    done = run(sys.executable, "-c", GROWTH, PYTHONPATH=f"{ROOT}:{ROOT / 'tools'}")
    grew = float(done.stdout.split("GREW")[1])
    assert grew == pytest.approx(96, abs=8)


@needs_kernel
def test_peak_holds_state_gradients_and_activations() -> None:
    bench = tiny_bench("simclr", batch_size=4)
    bench.step()
    trained = 4 * bench.parameters
    assert bench.state_bytes() >= 3 * trained  # and two moments
    peak = bench.peak_bytes()
    assert peak is not None and peak > bench.state_bytes() + trained  # gradients


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.memory.os.access", lambda *_: False)
    assert tiny_bench("byol").peak_bytes() is None


@pytest.mark.parametrize(("method", "moves"), [("mocov3", 1), ("dino", 1), ("simclr", 0)])
def test_a_step_is_the_whole_step(method: str, moves: int) -> None:
    bench = tiny_bench(method)
    before = {name: p.clone() for name, p in bench.model.named_parameters() if p.requires_grad}
    bench.step()
    bench.step()
    after = dict(bench.model.named_parameters())
    moved = [name for name, value in before.items() if not torch.equal(after[name], value)]
    assert any(name.startswith("encoder.blocks.0") for name in moved)
    target = bench.model.target
    assert (0 if target is None else int(target.updates)) == 2 * moves
    assert bench.steps == 2
