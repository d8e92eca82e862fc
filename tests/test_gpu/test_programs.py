"""The training programs on each device, by the functions of tools/gpu/check.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo import make_demo_data
from gpu_checks import transfer
from gpu_checks.programs import Trainings, call, fsdp
from tests.test_gpu.devices import checked, devices, on_devices
from tests.test_tools import programs


def run(*command: str | Path) -> str:
    """As gpu_checks.programs.call, in a process that has the imports already."""
    return programs.run(*command).stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with boxes, instance masks and label maps."""
    folder = tmp_path_factory.mktemp("data") / "demo"
    make_demo_data(folder, train=8, val=2, seed=0, image_size=128)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("device", devices())
def test_training_and_its_resume(device: str, tmp_path: Path) -> None:
    trainings = Trainings(device, tmp_path / "trainings", run if device == "cpu" else call)
    checked(trainings.whole)
    checked(trainings.resumed)


@pytest.mark.slow
@pytest.mark.parametrize("device", devices(cpu=False))
def test_torchrun_and_precisions(device: str, tmp_path: Path) -> None:
    trainings = Trainings(device, tmp_path / "trainings", run if device == "cpu" else call)
    checked(trainings.whole)
    checked(trainings.torchrun)
    checked(trainings.variant, "--amp", "bf16")
    if device == "cuda":
        checked(trainings.variant, "--amp", "fp16")


@pytest.mark.slow
@pytest.mark.parametrize("device", devices(cpu=False))
def test_fsdp(device: str, tmp_path: Path) -> None:
    checked(fsdp, device, tmp_path / "fsdp")


@pytest.mark.parametrize("device", devices())
def test_operators(device: str) -> None:
    checked(transfer.operators, device)


@pytest.mark.parametrize(("name", "device"), on_devices(transfer.CONFIGS, lambda name: True))
def test_a_dense_step_equals_the_cpu(name: str, device: str, data: Path) -> None:
    checked(transfer.dense_step, name, device, data)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "device"), on_devices(transfer.CONFIGS, lambda name: False))
def test_dense_training(name: str, device: str, data: Path, tmp_path: Path) -> None:
    number = 4 if device == "cuda" else 2
    trainings = transfer.DenseTrainings(device, tmp_path, data, number)
    checked(trainings.train, name, "fp32")
