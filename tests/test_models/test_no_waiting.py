"""No method's forward pass waits for the device.

The passes run on tensors that say they are on a GPU and hold no numbers: whatever asks for a
number (``item()``, an index by a mask, ``nonzero``) raises. Masks are drawn on the CPU, where their
numbers are there; that is done outside.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode

from mmvitssl.models.algorithms import step as steps
from mmvitssl.models.corruption import allocate
from mmvitssl.models.masking import (
    BlockMasking,
    MixedRatioMasking,
    MultiBlockMasking,
    RandomMasking,
    StratifiedMasking,
    WindowMasking,
)
from mmvitssl.randomness import SampleDraws
from mmvitssl.registry import MODELS
from mmvitssl.structures import MaskedPatches, TokenPlan
from tests.test_models.test_distributed_methods import METHODS, VIT, build, make_batch

DEVICE = "cuda"
MASKERS = (BlockMasking, MixedRatioMasking, MultiBlockMasking, RandomMasking, StratifiedMasking,
           WindowMasking)  # fmt: skip


def really(function: Callable[..., Any]) -> Callable[..., Any]:
    def outside(*args: Any, **kwargs: Any) -> Any:
        with unset_fake_temporarily():
            return function(*args, **kwargs)

    return outside


@pytest.fixture
def drawn_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is drawn, and looked up, on the CPU by design."""
    for masker in MASKERS:
        monkeypatch.setattr(masker, "__call__", really(masker.__call__))
    draw = really(SampleDraws.of)

    def keys_first(*args: Any, device: str | torch.device = "cpu", **kwargs: Any) -> SampleDraws:
        draws = draw(*args, **kwargs)
        return SampleDraws(draws.keys.to(device, non_blocking=True), draws.shared)

    monkeypatch.setattr(
        steps.PretrainStep, "_sample_draws",
        lambda step, name, device: keys_first(
            step._seed, step.samples, name, device=device, iteration=step.iteration
        ),
    )  # fmt: skip
    for name in ("rows", "repeated", "for_batch"):
        usual = getattr(SampleDraws, name)
        monkeypatch.setattr(
            SampleDraws, name,
            lambda draws, *args, usual=usual: (
                really(usual) if draws.keys.device.type == "cpu" else usual
            )(draws, *args),
        )  # fmt: skip
    monkeypatch.setattr(TokenPlan, "split", really(TokenPlan.split))
    monkeypatch.setattr(MaskedPatches, "of", really(MaskedPatches.of))
    harmonising = sys.modules["mmvitssl.models.corruption.harmonise"]
    monkeypatch.setattr(harmonising, "allocate", really(allocate))
    generator = really(steps.PretrainStep.generator)
    # a generator of the device needs the device
    monkeypatch.setattr(
        steps.PretrainStep, "generator", lambda step, task, device="cpu": generator(step, task)
    )
    yield


class BlockingCopies(TorchDispatchMode):
    """Refuses copies from the CPU to the device that wait until they are done.

    Fake tensors copy nothing, so that they do not notice.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        target = torch.device(kwargs.get("device") or "cpu").type
        copied = func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu"
        if copied and target == DEVICE and not kwargs.get("non_blocking"):
            raise RuntimeError(f"a copy of {tuple(args[0].shape)} to the device waits for it")
        return func(*args, **kwargs)


def move(model: nn.Module, mode: FakeTensorMode) -> None:
    """Parameters and buffers become fake tensors on the device."""
    for module in model.modules():
        for name, value in module._parameters.items():
            if value is not None:
                fake = mode.from_tensor(value.detach()).to(DEVICE)
                module._parameters[name] = nn.Parameter(fake, value.requires_grad)
        for name, value in module._buffers.items():
            if value is not None:
                module._buffers[name] = mode.from_tensor(value).to(DEVICE)


def forward(model: Any) -> dict[str, Any]:
    batch = make_batch(0, slice(0, 4))
    # samples stay on the CPU
    samples = {name: value.numpy() for name, value in batch["samples"].items()}
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        move(model, mode)
        batch["samples"] = samples
        batch["views"] = [mode.from_tensor(view).to(DEVICE) for view in batch["views"]]
        model.data_preprocessor._device = torch.device(DEVICE)
        with BlockingCopies():
            return losses(model, batch)


def losses(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Weighted losses, weights and metrics of a batch on the device."""
    return model(**model.data_preprocessor(batch, True), mode="loss")


def multitask() -> dict[str, Any]:
    """All tasks of the multi-task ViT, with the fills of SiT, on grids of 4 x 4."""
    tasks = dict(
        contrast=dict(METHODS["simclr"]["tasks"]["task"], token="contrast"),
        rotation=dict(type="Rotation", in_channels=32, views=(0, 1), token="rotation"),
        colour=dict(type="Colorization", in_channels=32, patches=2, predicts="bins", hidden=8),
        place=dict(type="RelativePosition", in_channels=32, pairs=1, crop=0.75, jitter=0.2),
        jigsaw=dict(type="Jigsaw", in_channels=32, patches=4, cells=16, position="slot"),
        paint=dict(
            type="Inpainting", in_channels=32, patches=4, patch_size=8,
            modes=("noise", "other", "blur", "grey"),
        ),
    )  # fmt: skip
    encoder = {**VIT, "position": "learned", "prefix_tokens": ("contrast", "rotation")}
    return dict(type="Pretrainer", encoder=encoder, tasks=tasks)


@pytest.mark.parametrize("name", [*METHODS, "multitask"])
def test_the_forward_pass_does_not_wait(name: str, drawn_on_the_cpu: None) -> None:
    if name == "multitask":
        with DefaultScope.overwrite_default_scope("mmvitssl"):
            model = MODELS.build(multitask())
    else:
        model = build(name)
    losses = forward(model.train())
    assert losses and all(loss.device.type == DEVICE for loss in losses.values())


WAITS = (lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.cpu().tolist())


@pytest.mark.parametrize("wait", WAITS, ids=["item", "mask", "list"])
def test_waiting_is_noticed(wait: Callable[[torch.Tensor], Any]) -> None:
    errors = (DataDependentOutputException, DynamicOutputShapeException)
    with FakeTensorMode(), pytest.raises(errors):
        wait(torch.ones(4, device=DEVICE))


def test_blocking_copies_are_noticed() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True), BlockingCopies():
        torch.ones(4, device="cpu").to(DEVICE, non_blocking=True)
        with pytest.raises(RuntimeError, match="waits for it"):
            torch.ones(4, device="cpu").to(DEVICE)
