"""Gradients of tasks that read disjoint tokens: they are compared in the encoder's blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.algorithms.step import EncodeRequest, PretrainStep
from mmvitssl.models.tasks.base import PretextTask, TaskResult
from mmvitssl.registry import MODELS
from tests.builders import ENCODER, RECONSTRUCTION, make_samples, make_views

SWIN = dict(type="SwinTransformer", arch=dict(embed_dim=8, depths=(1, 2), num_heads=(1, 2)),
            image_size=32, window_size=4)  # fmt: skip


@MODELS.register_module()
class MeanOutput(PretextTask):
    """Test task: ``factor`` times the mean square of the class token, or of the patches."""

    def __init__(self, factor: float = 1.0, reads: str = "cls", level: int | None = None) -> None:
        super().__init__()
        self.factor, self.reads, self.level = factor, reads, level

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        return [EncodeRequest(0, levels=() if self.level is None else (self.level,))]

    def loss(self, step: PretrainStep) -> TaskResult:
        if self.level is not None:
            values = step.encode(0, levels=(self.level,)).hierarchy[self.level]
        else:
            values = getattr(step.encode(0), self.reads)
        ahead = torch.linspace(-1, 1, values.shape[-1])  # norms make plain squares constant
        return TaskResult(self.factor * (values.float() @ ahead).square().mean())


def build(encoder: dict[str, Any] = ENCODER, balancer: Any = None, **tasks: Any) -> Pretrainer:
    torch.manual_seed(0)
    made = {name: dict(type="MeanOutput", **task) if "type" not in task else task
            for name, task in tasks.items()}  # fmt: skip
    config = dict(type="Pretrainer", encoder=encoder, tasks=made, balancer=balancer)
    return MODELS.build(config)


def batch(size: tuple[int, int] = (32, 48)) -> dict[str, Any]:
    torch.manual_seed(1)
    return dict(views=make_views(2, size=size), samples=make_samples())


def logs(model: Pretrainer, watch: bool = True, **data: Any) -> dict[str, Tensor]:
    model.watch_gradients = watch
    out = model(**(data or batch()), mode="loss")
    assert isinstance(out, dict)
    return out


def cosine_by_backward(model: Pretrainer, part: str, **data: Any) -> float:
    """From whole backward passes, at the parameters whose names contain ``part``."""
    rows = []
    for index in range(2):
        model.zero_grad()
        step = model.begin(**(data or batch()))
        list(model.ask(step).values())[index].loss.backward()
        chosen = [p for name, p in model.encoder.named_parameters() if part in name]
        rows.append(torch.cat([
            (torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in chosen
        ]))  # fmt: skip
    model.zero_grad()
    return torch.nn.functional.cosine_similarity(rows[0], rows[1], dim=0).item()


PARETO = dict(type="ParetoWeights", smoothing=0.0)


@pytest.mark.parametrize("normalise", [None, "norm"])
def test_opposite_tasks(normalise: str | None) -> None:
    """Of 0.5 f and -3 f the combination of least norm is 0: weights 3 and 0.5, up to their sum."""
    balancer = {**PARETO, "normalise": normalise}
    model = build(balancer=balancer, a=dict(factor=0.5), b=dict(factor=-3.0))
    out = logs(model)
    assert out["cosine_a_b"].item() == pytest.approx(-1.0, abs=1e-4)
    weights = [out["weight_a"].item(), out["weight_b"].item()]
    assert weights == pytest.approx([2 * 3 / 3.5, 2 * 0.5 / 3.5], abs=1e-4)
    (out["loss_a"] + out["loss_b"]).backward()
    grads = [p.grad for p in model.encoder.parameters() if p.grad is not None]
    largest = max(grad.abs().max().item() for grad in grads)
    model.zero_grad()
    (2 * model.ask(model.begin(**batch()))["a"].loss).backward()
    alone = max(p.grad.abs().max().item() for p in model.encoder.parameters() if p.grad is not None)
    assert len(grads) > 10 and largest < 1e-4 * alone


@pytest.mark.parametrize("normalise", [None, "norm", "loss"])
def test_two_tasks_have_the_weights_of_the_closed_form(normalise: str | None) -> None:
    """Least norm of w g1 + (1 - w) g2: w = (g2 - g1) g2 / |g1 - g2|^2, clipped to [0, 1]."""
    balancer = {**PARETO, "normalise": normalise}
    model = build(balancer=balancer, a=dict(reads="cls"), b=dict(factor=0.7, reads="patches"))
    step = model.begin(**batch())
    losses = {name: result.loss for name, result in model.ask(step).items()}
    first, second = (
        torch.cat([part.flatten() for part in torch.autograd.grad(
            loss, model.trunk.parameters(losses), retain_graph=True)]).double()
        for loss in losses.values()
    )  # fmt: skip
    scales = dict(norm=(first.norm(), second.norm()), loss=tuple(losses.values()))
    a, b = scales.get(normalise or "", (torch.ones(()), torch.ones(())))
    first, second = first / a.detach(), second / b.detach()
    share = ((second - first) @ second / (first - second).square().sum()).clamp(0, 1)
    expected = torch.stack([share / a.detach(), (1 - share) / b.detach()])
    expected = 2 * expected / expected.sum()
    out = logs(model)
    actual = [out["weight_a"].item(), out["weight_b"].item()]
    assert actual == pytest.approx(expected.tolist(), abs=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_disjoint_tokens_meet_in_the_last_block(precision: str) -> None:
    model = build(balancer=PARETO, cls=dict(reads="cls"), patch=dict(reads="patches"))
    expected = cosine_by_backward(model, "blocks.3.")
    assert abs(expected) > 0.01
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        out = logs(model)
    tolerance = 1e-4 if precision == "fp32" else 0.05
    assert out["cosine_cls_patch"].item() == pytest.approx(expected, abs=tolerance)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_tasks_of_shallow_levels_meet_in_a_shallow_block() -> None:
    model = build(deep=dict(reads="cls"), low=dict(level=1))
    expected = cosine_by_backward(model, "blocks.1.")
    for _ in range(2):  # found, and found again
        assert logs(model)["cosine_deep_low"].item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_repre_meets_contrast_before_the_levels_that_it_reads(compiled: bool) -> None:
    """Most of its gradient comes in at shallow levels, and the last block has none of that."""
    model = build(balancer=PARETO, cls=dict(reads="cls", factor=1e-3), repre=RECONSTRUCTION)
    if compiled:
        model.encoder.compile(backend="aot_eager")
    out = logs(model)
    expected = cosine_by_backward(model, "blocks.0.")
    assert out["cosine_cls_repre"].item() == pytest.approx(expected, abs=1e-4)
    weighed = [out["loss_cls"], out["loss_repre"]]
    grads = [torch.autograd.grad(loss, list(model.encoder.blocks[0].parameters()),
                                 retain_graph=True) for loss in weighed]  # fmt: skip
    norms = [sum(g.square().sum() for g in parts).sqrt().item() for parts in grads]
    assert norms[0] == pytest.approx(norms[1], rel=1e-2)  # both move the trunk as much


def test_swin() -> None:
    model = build(SWIN, PARETO, cls=dict(reads="cls"), patch=dict(level=1))
    data = batch((32, 32))
    expected = cosine_by_backward(model, "layers.1.blocks.1.", **data)
    out = logs(model, **data)
    assert abs(expected) > 1e-3
    assert out["cosine_cls_patch"].item() == pytest.approx(expected, abs=1e-4)
    weights = [out["weight_cls"].item(), out["weight_patch"].item()]
    assert min(weights) > 0 and sum(weights) == pytest.approx(2, abs=1e-4)


def test_a_task_without_gradient_in_a_batch_leaves_the_weights() -> None:
    model = build(balancer=PARETO, a=dict(reads="cls"), b=dict(factor=0.0))
    out = logs(model)
    assert [out[f"weight_{name}"].item() for name in "ab"] == [1.0, 1.0]
    assert out["cosine_a_b"].isnan()


def test_what_meets_nowhere_is_refused() -> None:
    frozen = build(a=dict(), b=dict(level=0))
    for name, parameter in frozen.encoder.named_parameters():
        parameter.requires_grad_(name.startswith("blocks.3."))
    with pytest.raises(ValueError, match=r"meet at no trained block .*'b': \[\]"):
        logs(frozen)
    frozen.encoder.requires_grad_(False)
    with pytest.raises(ValueError, match="ViT has no trained block: use FixedWeights"):
        frozen.trunk.check("ParetoWeights")
