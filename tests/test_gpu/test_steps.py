"""A training step of every method on each device, by the functions of tools/gpu/check.py."""

from __future__ import annotations

import pytest

from gpu_checks import augment, collectives, steps
from gpu_checks.small import METHODS
from tests.test_gpu.devices import checked, devices, on_devices

CHEAP = ("mae", "dino")
EACH = on_devices(METHODS, lambda name: name in CHEAP)
MEMORY = ("moby", "repre-mocov3", "mtssl-all", "cae")


@pytest.mark.parametrize(("name", "device"), EACH)
def test_float32_equals_the_cpu(name: str, device: str) -> None:
    checked(steps.float32_step, name, device)


@pytest.mark.parametrize(("name", "device"), EACH)
def test_bfloat16_is_close(name: str, device: str) -> None:
    checked(steps.bfloat16_step, name, device)


@pytest.mark.parametrize(("name", "device"), EACH)
def test_float16_with_a_scaler_is_close(name: str, device: str) -> None:
    checked(steps.float16_step, name, device)


@pytest.mark.parametrize(("name", "device"), on_devices(METHODS, lambda name: name == "mae"))
def test_a_step_does_not_wait(name: str, device: str) -> None:
    if device == "cuda":
        checked(steps.step_without_waiting, name, device)
    else:
        with pytest.raises(steps.Skip, match="nothing to wait for"):
            steps.step_without_waiting(name, device)


@pytest.mark.parametrize(("name", "device"), on_devices(METHODS, lambda name: name == "mae"))
def test_compiled_equals_eager(name: str, device: str) -> None:
    """On CPUs traced only: inductor takes minutes there."""
    checked(steps.compiled_step, name, device, "inductor" if device == "cuda" else "eager")


@pytest.mark.long
def test_inductor_on_the_cpu() -> None:
    checked(steps.compiled_step, "mae", "cpu")


@pytest.mark.parametrize(("name", "device"), on_devices(MEMORY, lambda name: name == "moby"))
def test_memory_is_flat(name: str, device: str) -> None:
    checked(steps.flat_memory, name, device, 200 if device == "cuda" else 8)


@pytest.mark.parametrize("device", devices())
def test_augmentation(device: str) -> None:
    checked(augment.device_augment, device, *((32, 224) if device == "cuda" else (4, 96)))


@pytest.mark.parametrize("device", devices())
def test_images_on_the_device(device: str) -> None:
    checked(augment.resident_images, device)


@pytest.mark.parametrize("device", devices())
def test_collectives(device: str) -> None:
    checked(collectives.collectives, device)


@pytest.mark.parametrize(
    ("name", "device"), on_devices(("mocov3", "simclr", "dino"), lambda name: name == "simclr")
)
def test_a_step_in_a_process_group(name: str, device: str) -> None:
    checked(collectives.distributed_step, name, device)
