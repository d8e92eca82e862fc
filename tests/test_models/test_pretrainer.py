"""Shared passes, gradients, the momentum target and the contracts of the Pretrainer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from mmvitssl.models.algorithms.step import EncodeRequest, PretrainStep
from mmvitssl.models.targets import MomentumTarget
from mmvitssl.registry import MODELS
from tests.builders import (
    CONTRASTIVE,
    ENCODER,
    RECONSTRUCTION,
    build_repre,
    make_samples,
    make_views,
)


def count_passes(module: nn.Module) -> list[int]:
    """Batch sizes of the passes through a module, filled as they happen."""
    batches: list[int] = []
    module.register_forward_pre_hook(lambda _, args: batches.append(args[0].shape[0]))
    return batches


def test_repre_runs_each_encoder_once_over_both_views() -> None:
    model = build_repre()
    online, target = count_passes(model.encoder), count_passes(model.target["encoder"])
    projections = count_passes(model.tasks["contrastive"].projector)
    model(make_views(batch=4), make_samples(), mode="loss")
    assert online == [8] and target == [8]
    assert projections == [4, 4]  # batch norm sees one view at a time


def test_views_of_different_sizes_run_apart_and_equal_ones_together() -> None:
    model = build_repre()
    views = [*make_views(2), *make_views(3, size=(16, 16))]
    online = count_passes(model.encoder)
    step = PretrainStep(views, make_samples(), model.encoder)
    step.prepare(EncodeRequest(view) for view in range(5))
    assert online == [8, 12]
    alone = model.encoder(views[3].images)
    torch.testing.assert_close(step.encode(3).patches, alone.patches, atol=1e-5, rtol=1e-4)
    assert online == [8, 12, 4]  # the last is this test's own


def test_levels_asked_later_are_still_given() -> None:
    model = build_repre()
    step = PretrainStep(make_views(), make_samples(), model.encoder)
    assert step.encode(0).hierarchy == {}
    assert set(step.encode(0, levels=(1, 2)).hierarchy) == {1, 2}


def test_loss_adds_up_and_logs_raw_and_weight() -> None:
    model = build_repre()
    logs = model(make_views(), make_samples(), mode="loss")
    total, _ = model.parse_losses(logs)
    torch.testing.assert_close(total, logs["loss_contrastive"] + logs["loss_reconstruction"])
    assert logs["weight_contrastive"] == 1 and logs["raw_contrastive"] == logs["loss_contrastive"]
    assert 0 <= logs["contrastive_accuracy"] <= 1


def test_untrained_contrast_is_at_chance() -> None:
    model = build_repre()
    losses = [
        model(make_views(batch=64), make_samples(64), mode="loss")["raw_contrastive"].item()
        for _ in range(3)
    ]
    chance = 2 * 0.4 * math.log(64)  # two directions, scale 2T
    assert sum(losses) / 3 == pytest.approx(chance, rel=0.25)


@pytest.mark.parametrize(
    ("task", "reaches", "misses"),
    [
        ("contrastive", ["encoder.norm.weight", "tasks.contrastive.predictor"], ["neck"]),
        ("reconstruction", ["tasks.reconstruction.neck"], ["projector", "encoder.norm.weight"]),
    ],
)
def test_gradients_reach_the_encoder_and_never_the_momentum_branch(
    task: str, reaches: list[str], misses: list[str]
) -> None:
    model = build_repre()
    # target modules that would take gradients if anything leaked
    model.target.modules_by_name.requires_grad_(True)
    logs = model(make_views(), make_samples(), mode="loss")
    logs[f"loss_{task}"].backward()
    gradients = {
        name: p.grad is not None and bool(p.grad.abs().sum() > 0)
        for name, p in model.named_parameters()
    }
    assert gradients["encoder.blocks.0.attn.qkv.weight"]
    assert gradients["encoder.cls_token"] or task == "reconstruction"
    assert not any(value for name, value in gradients.items() if name.startswith("target."))
    for part in reaches:
        assert any(value for name, value in gradients.items() if part in name), part
    for part in misses:
        assert not any(value for name, value in gradients.items() if part in name), part
    assert not gradients["encoder.patch_embed.proj.weight"]


def test_only_the_reconstructed_view_takes_reconstruction_gradient() -> None:
    model = build_repre(tasks=dict(reconstruction=RECONSTRUCTION), balancer=None, target=None)
    views = make_views()
    for view in views:
        view.images.requires_grad_(True)
    model.encoder.patch_embed.requires_grad_(True)
    model(views, make_samples(), mode="loss")["loss_reconstruction"].backward()
    assert views[0].images.grad.abs().sum() > 0
    assert views[1].images.grad is None


def test_momentum_schedule_is_the_published_cosine() -> None:
    target = MomentumTarget({"encoder": nn.Linear(2, 2)}, momentum=0.99)
    assert target.momentum_at(0.0) == pytest.approx(0.99)
    assert target.momentum_at(0.5) == pytest.approx(0.995)
    assert target.momentum_at(1.0) == 1.0
    constant = MomentumTarget({"encoder": nn.Linear(2, 2)}, 0.999, schedule="constant")
    assert constant.momentum_at(0.7) == 0.999


@pytest.mark.parametrize("buffers", ["own", "copy"])
def test_momentum_update_lerps_parameters_and_handles_buffers_as_said(buffers: str) -> None:
    online = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    target = MomentumTarget({"encoder": online}, momentum=0.9, buffers=buffers)
    before = [p.clone() for p in target.parameters()]
    nn.init.normal_(online[0].weight)
    online[1].running_mean.fill_(5.0)
    used = target.update({"encoder": online}, progress=0.0)
    assert used == 0.9 and target.updates == 1 and target.last_momentum.item() == pytest.approx(0.9)
    for old, mine, theirs in zip(before, target.parameters(), online.parameters(), strict=True):
        torch.testing.assert_close(mine, 0.9 * old + 0.1 * theirs)
    assert target["encoder"][1].running_mean[0].item() == (5.0 if buffers == "copy" else 0.0)
    assert not any(p.requires_grad for p in target.parameters())


def test_momentum_state_is_saved() -> None:
    model = build_repre()
    model.update_target(0.5)
    state = model.state_dict()
    assert state["target.updates"] == 1
    assert state["target.last_momentum"].item() == pytest.approx(0.995)
    assert "target.modules_by_name.contrastive_projector.layers.0.weight" in state


def test_target_starts_as_a_copy_and_stays_apart() -> None:
    model = build_repre()
    online = model.encoder.state_dict()
    for name, value in model.target["encoder"].state_dict().items():
        assert torch.equal(value, online[name])
        assert value.data_ptr() != online[name].data_ptr()


def test_without_target_the_online_branch_gives_keys_without_gradient() -> None:
    model = build_repre(target=None)
    logs = model(make_views(), make_samples(), mode="loss")
    assert logs["loss_contrastive"].requires_grad
    assert model.update_target(0.0) is None


def test_step_randomness_depends_on_seed_epoch_and_samples_only() -> None:
    def draw(seed: int, epoch: int) -> float:
        step = PretrainStep(make_views(1), make_samples(4, epoch), nn.Identity(), seed=seed)
        return torch.rand((), generator=step.generator(nn.Identity())).item()

    assert draw(0, 3) == draw(0, 3)
    assert len({draw(0, 3), draw(1, 3), draw(0, 4)}) == 3


def test_predict_and_pictures() -> None:
    model = build_repre().eval()
    (scalars,) = model(make_views(), make_samples(), mode="predict")
    assert scalars["batch_size"] == 4
    assert scalars["reconstruction_error"] == pytest.approx(scalars["raw_reconstruction"])
    pictures = model(make_views(), make_samples(), mode="pictures")["reconstruction"]
    assert list(pictures) == ["original", "reconstruction"]
    assert pictures["reconstruction"].shape == (4, 3, 32, 48)
    with pytest.raises(ValueError, match="not 'tensor'"):
        model(make_views(), make_samples(), mode="tensor")


def test_bf16_autocast_stays_close_to_float32() -> None:
    model, views = build_repre(), make_views(batch=8)
    exact = model(views, make_samples(8), mode="loss")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(views, make_samples(8), mode="loss")
    for name in ("loss_contrastive", "loss_reconstruction"):
        assert rough[name].dtype == torch.float32
        assert rough[name].item() == pytest.approx(exact[name].item(), rel=0.05)


def changed(part: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**part, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(tasks={}), "tasks is empty"),
        (
            dict(tasks=dict(c=changed(CONTRASTIVE, token="rotation")), balancer=None),
            "no prefix token",
        ),
        (
            dict(
                tasks=dict(
                    c=changed(CONTRASTIVE, projector=dict(type="ProjectionMLP", in_channels=99))
                ),
                balancer=None,
            ),
            "in_channels=99, but the encoder gives 32",
        ),
        (
            dict(tasks=dict(r=changed(RECONSTRUCTION, levels=(0, 1, 2, 9))), balancer=None),
            "has 0..3 .*; evenly spaced would be \\(0, 1, 2, 3\\)",
        ),
        (
            dict(
                tasks=dict(
                    r=changed(RECONSTRUCTION, neck=dict(type="MultiHierarchyFusion", in_channels=7))
                ),
                balancer=None,
            ),
            "=7, but the encoder at levels \\(0, 1, 2, 3\\) gives",
        ),
        (dict(tasks=dict(c=changed(CONTRASTIVE, views=(0,))), balancer=None), "at least 2"),
        (dict(encoder=changed(ENCODER, patch_size=7)), "cannot be cut into patches of 7"),
        (dict(target=dict(schedule="cubic")), "'cubic' is unknown"),
        (dict(target=dict(momentum=1.5)), r"MomentumTarget.momentum=1.5 must lie in .0, 1."),
    ],
)
def test_parts_that_do_not_fit_are_refused_when_built(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_repre(**changes)


def test_unknown_key_names_the_module_and_the_key() -> None:
    with pytest.raises(TypeError, match="temperatur"):
        MODELS.build(dict(type="InfoNCE", temperatur=0.2))


def test_missing_view_is_named() -> None:
    with pytest.raises(IndexError, match="reads view 1, but the pipeline makes 1"):
        build_repre()(make_views(1), make_samples(), mode="loss")
