"""One training step of a method: against the CPU, in low precision, compiled, without waiting."""

from __future__ import annotations

import functools
import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from benchmark import StepBench
from gpu_checks.report import Skip, close
from gpu_checks.small import SIZES, small_bench

# relative; gradients through batch norms of few images are sensitive
LOSS, GRADIENT = 1e-4, 2e-2
LOW_LOSS, LOW_GRADIENT = 6e-2, {torch.bfloat16: 0.8, torch.float16: 0.3}
COMPILED_LOSS, COMPILED_GRADIENT = 1e-3, 5e-2
Gradients = dict[str, Tensor]


@contextmanager
def full_float32() -> Iterator[None]:
    """Convolutions and products in full float32 (no TF32) in here, to compare with the CPU."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def loss_and_gradients(
    bench: StepBench, dtype: torch.dtype | None = None, scaler: Any = None
) -> tuple[float, Gradients]:
    """The loss of the bench's next step and its gradients in float64 on the CPU.

    Args:
        bench: its weights stay as they are, but for a momentum encoder that moves before.
        dtype: of autocast; None: float32.
        scaler: a gradient scaler; gradients are unscaled before they are returned.
    """
    model, kind = bench.model, bench.device.type
    model.zero_grad(set_to_none=True)
    target = model.target
    if target is not None and target.when == "before_forward":
        model.update_target(0.0)
    data = model.data_preprocessor(bench.batch, True)
    with torch.autocast(kind, dtype or torch.bfloat16, enabled=dtype is not None):
        loss, _ = model.parse_losses(model(**data, mode="loss"))
    if scaler is None:
        loss.backward()
    else:
        optimizer = bench.optim_wrapper.optimizer
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
    found = {n: p.grad.double().cpu() for n, p in model.named_parameters() if p.grad is not None}
    return float(loss.detach()), found


def difference(found: Gradients, expected: Gradients) -> tuple[float, str]:
    """``||found - expected|| / ||expected||`` over all parameters, and who has most of it.

    Raises:
        AssertionError: other parameters have gradients.
    """
    if found.keys() != expected.keys():
        other = sorted(found.keys() ^ expected.keys())
        raise AssertionError(f"gradients of other parameters: {other[:5]}")
    parts = {n: float((found[n] - expected[n]).square().sum()) for n in expected}
    whole = math.sqrt(sum(float(g.square().sum()) for g in expected.values()))
    return math.sqrt(sum(parts.values())) / max(whole, 1e-30), max(parts, key=lambda n: parts[n])


@functools.lru_cache(maxsize=2)
def on_the_cpu(name: str, device: str) -> tuple[float, Gradients]:
    """Loss and gradients in float32 on the CPU, at the size that ``device`` is checked at."""
    return loss_and_gradients(small_bench(name, "cpu", SIZES[device]))


def float32_step(name: str, device: str) -> str:
    """Loss and gradients in float32 equal the CPU's."""
    expected, reference = on_the_cpu(name, device)
    with full_float32():
        loss, grads = loss_and_gradients(small_bench(name, device, SIZES[device]))
    off, (rest, worst) = abs(loss / expected - 1), difference(grads, reference)
    close("loss", off, LOSS)
    close(f"gradient (most in {worst})", rest, GRADIENT)
    return f"loss {loss:.5f}, off the CPU's by {off:.1e}, gradients by {rest:.1e}"


def _not_finite(grads: Gradients) -> list[str]:
    return [name for name, grad in grads.items() if not grad.isfinite().all()]


def _low_precision(name: str, device: str, dtype: torch.dtype, scaler: Any = None) -> str:
    """One step under autocast: finite and close to float32's on the CPU.

    Raises:
        AssertionError: it is not.
    """
    expected, reference = on_the_cpu(name, device)
    bench = small_bench(name, device, SIZES[device])
    loss, grads = loss_and_gradients(bench, dtype, scaler)
    while scaler is not None and _not_finite(grads) and scaler.get_scale() > 1:
        scaler.step(bench.optim_wrapper.optimizer)  # skipped, since gradients are not finite
        scaler.update()
        # anew, since centres, queues and momentum encoders have moved
        bench = small_bench(name, device, SIZES[device])
        loss, grads = loss_and_gradients(bench, dtype, scaler)
    bad = _not_finite(grads)
    if not math.isfinite(loss) or bad:
        raise AssertionError(
            f"loss {loss}, gradients not finite: {len(bad)} of {len(grads)}, such as {bad[:3]}"
        )
    off, (rest, worst) = abs(loss / expected - 1), difference(grads, reference)
    close("loss", off, LOW_LOSS)
    close(f"gradient (most in {worst})", rest, LOW_GRADIENT[dtype])
    return f"loss off float32's by {off:.1e}, gradients by {rest:.1e}"


def bfloat16_step(name: str, device: str) -> str:
    """Loss and gradients under bfloat16 autocast are finite and close to float32's."""
    return _low_precision(name, device, torch.bfloat16)


def float16_step(name: str, device: str) -> str:
    """As :func:`bfloat16_step` in float16, with a gradient scaler that finds its scale."""
    # it lowers the scale faster than in a training
    scaler = torch.amp.GradScaler(device, init_scale=2.0**16, backoff_factor=2.0**-4)
    text = _low_precision(name, device, torch.float16, scaler)
    return f"{text}, scale {scaler.get_scale():g}"


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """Whatever waits for the GPU in here raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def step_without_waiting(name: str, device: str) -> str:
    """A whole training step in bfloat16 asks the device for nothing."""
    bench = small_bench(name, device, SIZES[device], "bf16")
    bench.optim_wrapper.defer_logs = True  # what DeferredLogsHook sets
    bench.step()
    if device == "cpu":
        bench.step()
        raise Skip("a CPU has nothing to wait for; two steps ran")
    with no_synchronisation():
        bench.step()
    return "a step asks the device for nothing"


def compiled_step(name: str, device: str, backend: str = "inductor") -> str:
    """Loss and gradients with a compiled encoder equal eager ones; later steps recompile nothing.

    Args:
        name: of the method.
        device: 'cpu' or 'cuda'.
        backend: of ``torch.compile``; ``--compile`` of the training uses 'inductor'.
    """
    torch._dynamo.reset()
    with full_float32():
        loss, grads = loss_and_gradients(small_bench(name, device, SIZES[device]))
        bench = small_bench(name, device, SIZES[device])
        bench.model.encoder.compile(backend=backend)
        found, compiled = loss_and_gradients(bench)
    off, (rest, worst) = abs(found / loss - 1), difference(compiled, grads)
    close("loss", off, COMPILED_LOSS)
    close(f"gradient (most in {worst})", rest, COMPILED_GRADIENT)
    try:
        # the batch's epoch counts up, so that each step draws other masks
        bench.step()
        bench.step()
        with torch._dynamo.config.patch(error_on_recompile=True):
            bench.step()
    finally:
        torch._dynamo.reset()
    return f"loss off eager's by {off:.1e}, gradients by {rest:.1e}; no recompilation"


def memory_in_use(device: str) -> int:
    """Bytes that torch allocated on a GPU; on a CPU, bytes of all tensors that are alive."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()
    storages = {}
    for thing in gc.get_objects():
        if isinstance(thing, FakeTensor):  # has no memory; compilation leaves some
            continue
        if isinstance(thing, Tensor) and thing.device.type == "cpu":
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def flat_memory(name: str, device: str, steps: int = 200) -> str:
    """Memory after ``steps`` training steps is what it was after the first ten of them."""
    bench = small_bench(name, device, SIZES[device], "bf16")
    bench.optim_wrapper.defer_logs = True
    warm = min(10, steps // 2)
    for _ in range(warm):
        bench.step()
    before = memory_in_use(device)
    for _ in range(steps - warm):
        bench.step()
    after = memory_in_use(device)
    if after > before:
        raise AssertionError(
            f"memory grew from {before} bytes after {warm} steps to {after} after {steps}"
        )
    return f"{after / 2**20:.1f} MiB after {steps} steps, {before / 2**20:.1f} after {warm}"
