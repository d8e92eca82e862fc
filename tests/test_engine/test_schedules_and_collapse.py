"""Clipping and freezing, weight decay over time, LARS, and what says that a run collapses."""

from __future__ import annotations

import copy
import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmvitssl.datasets.collate import collate_views
from mmvitssl.engine.hooks import CollapseHook, FreezeHook, WeightDecayHook
from mmvitssl.engine.hooks.collapse import effective_rank, relative_std
from mmvitssl.engine.optim import AutocastOptimWrapper
from mmvitssl.engine.optim.autocast import clip_each
from mmvitssl.models.tasks.base import TaskResult
from mmvitssl.registry import MODELS, OPTIMIZERS

# --- clipping ---


def with_gradients(*norms: float | None) -> list[nn.Parameter]:
    """Parameters of several shapes whose gradients have the given norms; None: no gradient."""
    parameters = []
    for number, norm in enumerate(norms):
        parameter = nn.Parameter(torch.randn(2 + number, 3))
        if norm is not None:
            direction = torch.randn_like(parameter)
            parameter.grad = norm * direction / direction.norm()
        parameters.append(parameter)
    return parameters


def test_each_gradient_is_clipped_by_its_own_norm() -> None:
    parameters = with_gradients(0.5, 2.9, None, 3.1, 100.0, 0.0)
    others = copy.deepcopy(parameters)
    for mine, other in zip(parameters, others, strict=True):
        other.grad = None if mine.grad is None else mine.grad.clone()
        torch.nn.utils.clip_grad_norm_([other], 3.0)
    clip_each(parameters, 3.0)
    for mine, other in zip(parameters, others, strict=True):
        assert (mine.grad is None) == (other.grad is None)
        if mine.grad is not None and other.grad is not None:
            torch.testing.assert_close(mine.grad, other.grad)
    norms = [float(p.grad.norm()) for p in parameters if p.grad is not None]
    assert norms == pytest.approx([0.5, 2.9, 3.0, 3.0, 0.0], rel=1e-5)


def test_clipping_nothing_does_nothing() -> None:
    clip_each(with_gradients(None, None), 3.0)
    clip_each([], 3.0)


def wrap(parameters: list[nn.Parameter], **settings: Any) -> AutocastOptimWrapper:
    """With SGD of learning rate 1: a step is the gradient."""
    return AutocastOptimWrapper(optimizer=torch.optim.SGD(parameters, lr=1.0), **settings)


def test_a_step_moves_each_parameter_by_its_clipped_gradient() -> None:
    parameters = with_gradients(1.0, 10.0)
    before = copy.deepcopy(parameters)
    gradients = [p.grad.clone() for p in parameters if p.grad is not None]
    wrap(parameters, clip_each=2.0).step()
    for factor, old, new, gradient in zip((1.0, 0.2), before, parameters, gradients, strict=True):
        torch.testing.assert_close(new.data, old.data - factor * gradient, atol=1e-5, rtol=1e-5)


def test_the_whole_norm_may_be_clipped_as_well() -> None:
    parameters = with_gradients(10.0, 10.0)
    before = copy.deepcopy(parameters)
    wrap(parameters, clip_each=3.0, clip_grad=dict(max_norm=1.0)).step()
    moved = [
        float((new - old).detach().norm()) for old, new in zip(before, parameters, strict=True)
    ]
    assert moved == pytest.approx([math.sqrt(0.5)] * 2, rel=1e-4)


@pytest.mark.parametrize("settings", [dict(clip_each=0.0), dict(clip_each=-1), dict(precision="x")])
def test_wrapper_refuses_what_makes_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs precision 'bf16' or 'fp32' and a positive"):
        wrap(with_gradients(1.0), **settings)


# --- freezing ---


def adam_step(wrapper: AutocastOptimWrapper, parameters: list[nn.Parameter]) -> None:
    sum((p * torch.randn_like(p)).sum() for p in parameters).backward()
    wrapper.step()
    wrapper.zero_grad()


def test_frozen_parameters_stay_bit_for_bit_whatever_the_optimizer_remembers() -> None:
    parameters = with_gradients(None, None)
    optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.5)
    wrapper = AutocastOptimWrapper(optimizer=optimizer)
    adam_step(wrapper, parameters)  # moments that would move it on
    frozen, free = parameters
    wrapper.frozen = [frozen]
    before = copy.deepcopy((frozen.data, optimizer.state[frozen]))
    for _ in range(3):
        old = free.clone()
        adam_step(wrapper, parameters)
        assert torch.equal(frozen, before[0])
        assert not torch.equal(free, old)
    for key, value in before[1].items():
        assert torch.equal(optimizer.state[frozen][key], value)
    assert float(before[1]["exp_avg"].abs().sum()) > 0
    wrapper.frozen = []
    adam_step(wrapper, parameters)
    assert not torch.equal(frozen, before[0])


def test_gradients_of_frozen_parameters_do_not_count_in_the_norm() -> None:
    frozen, free = with_gradients(1000.0, 1.0)
    before, gradient = free.detach().clone(), free.grad
    assert gradient is not None
    expected = before - gradient
    wrapper = wrap([frozen, free], clip_grad=dict(max_norm=1.5))
    wrapper.frozen = [frozen]
    wrapper.step()
    torch.testing.assert_close(free.data, expected)


def small_runner(wrapper: Any) -> Any:
    model = nn.ModuleDict(dict(head=nn.Linear(2, 2), body=nn.Linear(2, 2)))
    model["body"].requires_grad_(False)
    return SimpleNamespace(model=model, optim_wrapper=wrapper)


def test_freezing_what_does_not_exist_is_refused() -> None:
    parameters = with_gradients(1.0)
    runner = small_runner(wrap(parameters))
    FreezeHook(("head",)).before_train(runner)
    for names in (("tail",), ("body",)):  # the body is not trained anyway
        with pytest.raises(ValueError, match="no trained parameter has one of"):
            FreezeHook(names).before_train(runner)


def test_freezing_needs_a_wrapper_that_can() -> None:
    wrapper = OptimWrapper(torch.optim.SGD(with_gradients(1.0), lr=1.0))
    with pytest.raises(ValueError, match="FreezeHook needs optim_wrapper.type='Autocast"):
        FreezeHook(("head",)).before_train(small_runner(wrapper))


# --- real runs, on noisy views of random pictures in memory ---

IMAGES, SIDE = 32, 16
VIT = dict(
    type="ViT",
    arch=dict(embed_dim=16, depth=1, num_heads=2),
    image_size=SIDE,
    patch_size=8,
    position="sincos_row_first",
    initialisation="mocov3",  # timm's gives all images one direction at this width
)


class Pictures(Dataset[dict[str, Any]]):
    """Coarse random pictures; every view adds noise of its own."""

    def __init__(self) -> None:
        coarse = torch.rand(IMAGES, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        self.pictures = 255 * nn.functional.interpolate(coarse, size=SIDE)

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> dict[str, Any]:
        picture = self.pictures[index]
        views = [picture + 8 * torch.randn_like(picture) for _ in range(2)]
        pixels = [view.clamp(0, 255).to(torch.uint8) for view in views]
        return {"views": pixels, "sample": {"index": index, "epoch": 0}}


def mlp(inputs: int, **options: Any) -> dict[str, Any]:
    return dict(
        type="ProjectionMLP", in_channels=inputs, hidden_channels=32, out_channels=8, **options
    )


COLLAPSING = dict(  # BYOL with neither predictor nor stop-gradient
    type="Contrastive",
    keys="online",
    projector=mlp(16, num_layers=2, bias=True, norm=False, last_norm=False),
    head=dict(type="CosineLoss"),
)
MOCOV3 = dict(
    type="Contrastive",
    projector=mlp(16),
    predictor=mlp(8, num_layers=2),
    head=dict(type="InfoNCE", temperature=0.2, scale=0.4),
)
DINO = dict(
    type="SelfDistillation",
    local_views=(),
    projector=dict(
        type="PrototypeMLP", in_channels=16, prototypes=8, hidden_channels=16, bottleneck=4
    ),
    head=dict(type="DINOLoss", prototypes=8),
)
BY_EPOCH = dict(type="EpochBasedTrainLoop")


def make_runner(
    folder: Path,
    task: dict[str, Any],
    hooks: list[Any],
    loop: dict[str, Any],
    batch: int = IMAGES,
    **settings: Any,
) -> Runner:
    target = None if task is COLLAPSING else dict(momentum=0.99)
    model = dict(type="Pretrainer", encoder=VIT, target=target, tasks=dict(method=task))
    return Runner(
        model=MODELS.build(model),
        work_dir=str(folder),
        train_dataloader=DataLoader(Pictures(), batch, shuffle=True, collate_fn=collate_views),
        train_cfg=loop,
        optim_wrapper=dict(
            type="AutocastOptimWrapper",
            precision="fp32",
            optimizer=dict(type="AdamW", lr=3e-3, weight_decay=0.04),
        ),
        custom_hooks=[dict(type="MomentumUpdateHook"), *hooks],
        default_hooks=dict(
            logger=dict(type="LoggerHook", interval=1000),
            checkpoint=settings.pop("checkpoint", None),
        ),
        env_cfg=dict(mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0)),
        randomness=dict(seed=0),
        default_scope="mmvitssl",
        experiment_name=f"{folder.parent.name}-{folder.name}",
        **settings,
    )


def warnings_of(folder: Path) -> list[str]:
    logs = list(folder.glob("*/*.log"))
    assert logs
    lines = [line for log in logs for line in log.read_text().splitlines()]
    return [line for line in lines if "COLLAPSE?" in line]


def watched(folder: Path, task: dict[str, Any]) -> tuple[Runner, float]:
    """A run that has been watched, and how spread its embeddings were before it."""
    hook = CollapseHook(interval=10, patience=60)
    runner = make_runner(folder, task, [hook], dict(**BY_EPOCH, max_epochs=120))
    batch = collate_views([Pictures()[index] for index in range(IMAGES)])
    step = runner.model.begin(**runner.model.data_preprocessor(batch))
    start = relative_std(runner.model.tasks["method"].embeddings(step)[0][0].detach())
    runner.train()
    assert runner.model.observers == []
    return runner, start


def spread(runner: Runner, what: str) -> list[float]:
    return runner.message_hub.get_scalar(f"train/method_{what}").data[0].tolist()


def test_a_collapse_is_seen_in_the_embeddings_and_said_once(tmp_path: Path) -> None:
    runner, start = watched(tmp_path / "run", COLLAPSING)
    deviations = spread(runner, "projection_std")
    assert len(deviations) == 12 and len(spread(runner, "projection_rank")) == 12
    assert start > 0.3 and max(deviations[6:]) < 0.03
    lines = warnings_of(tmp_path / "run")
    projections = [line for line in lines if "method_projection:" in line]
    assert len(projections) == 1
    assert "WARNING" in projections[0] and "nearly the same" in projections[0]


def test_a_run_that_learns_does_not_warn(tmp_path: Path) -> None:
    runner, start = watched(tmp_path / "run", MOCOV3)
    assert warnings_of(tmp_path / "run") == []
    assert start > 0.9 and min(spread(runner, "projection_std")) > 0.9
    assert min(spread(runner, "feature_std")) > 0.4
    losses = runner.message_hub.get_scalar("train/raw_method").data[0]
    assert losses[-1] < 0.4 * losses[0]  # it does learn


class Recorder(Hook):
    """Notes the weight decay before each step and the prototypes behind it; may interrupt."""

    priority = "VERY_LOW"

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.decays: dict[int, float] = {}
        self.prototypes: list[Tensor] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.stop_at:
            raise KeyboardInterrupt
        self.decays[runner.iter] = runner.optim_wrapper.optimizer.param_groups[0]["weight_decay"]

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        head = getattr(runner.model.tasks["method"].projector, "last_layer", None)
        if head is not None:
            self.prototypes.append(head.weight_v.detach().clone())


@pytest.mark.parametrize(
    "loop",
    [
        dict(**BY_EPOCH, max_epochs=2),
        # MMEngine waits two seconds where such a loop comes to the end of the data
        dict(type="IterBasedTrainLoop", max_iters=8, val_interval=100),
    ],
)
def test_prototypes_rest_for_an_epoch_and_move_then(loop: dict[str, Any], tmp_path: Path) -> None:
    recorder = Recorder()
    freeze = dict(type="FreezeHook", names=("projector.last_layer",), epochs=1)
    runner = make_runner(tmp_path / "run", DINO, [freeze, recorder], loop, batch=8)
    projector = runner.model.tasks["method"].projector
    start = projector.last_layer.weight_v.detach().clone()
    hidden = projector.mlp[0].weight.detach().clone()
    runner.train()
    seen = recorder.prototypes
    assert len(seen) == 8
    assert all(torch.equal(prototypes, start) for prototypes in seen[:4])
    assert not any(torch.equal(seen[i], seen[i + 1]) for i in range(3, 7))
    assert not torch.equal(projector.mlp[0].weight, hidden)


# --- weight decay ---


def decays_of(runner: Any, hook: WeightDecayHook, iterations: range) -> list[list[float]]:
    """Of all groups, at each iteration."""
    found = []
    for runner.iter in iterations:
        hook.before_train_iter(runner, 0)
        groups = runner.optim_wrapper.optimizer.param_groups
        found.append([group["weight_decay"] for group in groups])
    return found


def decaying(*decays: float) -> Any:
    groups = [dict(params=[p], weight_decay=decay) for p, decay in
              zip(with_gradients(*[1.0] * len(decays)), decays, strict=True)]  # fmt: skip
    wrapper = wrap(groups)  # type: ignore[arg-type]
    return SimpleNamespace(optim_wrapper=wrapper, max_iters=100, iter=0)


def test_weight_decay_follows_dinos_cosine_and_groups_without_keep_none() -> None:
    runner, hook = decaying(0.04, 0.0, 0.02), WeightDecayHook(end=0.4)
    hook.before_train(runner)
    found = np.array(decays_of(runner, hook, range(101)))
    cosine = 1 + np.cos(np.pi * np.arange(101) / 100)
    np.testing.assert_allclose(found[:, 0], 0.4 + 0.5 * (0.04 - 0.4) * cosine, rtol=1e-9)
    np.testing.assert_allclose(found[[0, 50, 100], 0], [0.04, 0.22, 0.4], rtol=1e-9)
    np.testing.assert_allclose(found[[0, 50, 100], 2], [0.02, 0.21, 0.4], rtol=1e-9)
    assert (found[:, 1] == 0).all()


def test_weight_decay_may_fall_to_nothing() -> None:
    runner, hook = decaying(0.04), WeightDecayHook(end=0.0)
    hook.before_train(runner)
    found = decays_of(runner, hook, range(101))
    assert found[0] == [0.04] and found[50] == pytest.approx([0.02])
    assert found[100] == pytest.approx([0.0])


def test_negative_weight_decay_is_refused() -> None:
    with pytest.raises(ValueError, match="end=-0.1 is negative"):
        WeightDecayHook(end=-0.1)


def test_a_restored_optimizer_keeps_its_first_weight_decay() -> None:
    runner, hook = decaying(0.04, 0.0), WeightDecayHook(end=0.4)
    hook.before_train(runner)
    whole = decays_of(runner, hook, range(100))
    again, first = decaying(0.04, 0.0), WeightDecayHook(end=0.4)
    first.before_train(again)
    decays_of(again, first, range(60))
    resumed, second = decaying(0.04, 0.0), WeightDecayHook(end=0.4)
    resumed.optim_wrapper.load_state_dict(copy.deepcopy(again.optim_wrapper.state_dict()))
    assert resumed.optim_wrapper.optimizer.param_groups[0]["weight_decay"] != 0.04
    second.before_train(resumed)
    assert decays_of(resumed, second, range(60, 100)) == whole[60:]


def test_a_resumed_run_has_the_weight_decay_of_an_uninterrupted_one(tmp_path: Path) -> None:
    loop = dict(**BY_EPOCH, max_epochs=6)
    hook = dict(type="WeightDecayHook", end=0.4)
    checkpoint = dict(type="CheckpointHook", interval=3)
    whole, first, second = Recorder(), Recorder(stop_at=4), Recorder()
    make_runner(tmp_path / "whole", MOCOV3, [hook, whole], loop).train()
    with pytest.raises(KeyboardInterrupt):
        make_runner(tmp_path / "cut", MOCOV3, [hook, first], loop, checkpoint=checkpoint).train()
    resumed = make_runner(
        tmp_path / "resumed",
        MOCOV3,
        [hook, second],
        loop,
        load_from=str(tmp_path / "cut" / "epoch_3.pth"),
        resume=True,
    )
    resumed.train()
    assert list(second.decays) == [3, 4, 5]
    assert {**first.decays, **second.decays} == whole.decays
    assert [whole.decays[i] for i in (0, 3)] == pytest.approx([0.04, 0.22])


# --- LARS ---


def test_lars_scales_steps_of_decayed_groups_only() -> None:
    decayed, plain = with_gradients(2.0, 2.0)
    groups = [
        dict(params=[decayed], weight_decay=0.1),
        dict(params=[plain], weight_decay=0.0),
    ]
    optimizer = OPTIMIZERS.build(dict(type="LARS", params=groups, lr=0.5, momentum=0.9))
    twin = nn.Parameter(plain.detach().clone())
    sgd = torch.optim.SGD([twin], lr=0.5, momentum=0.9)
    expected, velocity = decayed.detach().double(), torch.zeros(2, 3, dtype=torch.float64)
    for _ in range(4):
        for parameter in (decayed, plain):
            parameter.grad = torch.randn_like(parameter)
        assert decayed.grad is not None and plain.grad is not None
        twin.grad = plain.grad.clone()
        gradient = decayed.grad.double()
        ratio = 1e-3 * expected.norm() / (gradient.norm() + 0.1 * expected.norm())
        velocity = 0.9 * velocity + ratio * (gradient + 0.1 * expected)
        expected = expected - 0.5 * velocity
        optimizer.step()
        sgd.step()
        torch.testing.assert_close(plain, twin)
        torch.testing.assert_close(decayed.double(), expected, atol=1e-6, rtol=1e-5)


def test_lars_takes_plain_steps_for_biases_and_norms() -> None:
    model = nn.ModuleDict(dict(encoder=MODELS.build(VIT)))
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor="LayerDecayOptimWrapperConstructor",
            optimizer=dict(type="LARS", lr=0.5, momentum=0.9, weight_decay=1e-6),
            paramwise_cfg=dict(decay_rate=1.0),
        ),
    )
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in trained.values():
        parameter.grad = torch.randn_like(parameter)
    wrapper.step()
    plain = set()
    for name, parameter in trained.items():
        assert parameter.grad is not None
        if torch.allclose(parameter.data, before[name] - 0.5 * parameter.grad):
            plain.add(name)
    assert plain == {name for name, p in trained.items() if p.ndim <= 1}
    assert len(plain) > 5


# --- spread and rank ---


def test_one_point_has_neither_spread_nor_rank() -> None:
    for rows, columns in ((4, 3), (64, 16), (1024, 256)):
        points = torch.randn(1, columns).expand(rows, columns)
        assert relative_std(points) == pytest.approx(0.0, abs=1e-4)
        assert effective_rank(points) == 0.0
    assert effective_rank(torch.zeros(8, 4)) == 0.0


def test_one_direction_of_many_lengths_has_no_spread() -> None:
    points = torch.linspace(1, 9, 32)[:, None] * torch.randn(1, 16)
    assert relative_std(points) == pytest.approx(0.0, abs=1e-5)
    assert effective_rank(points) == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("channels", [3, 16, 64])
def test_orthogonal_directions_have_spread_one(channels: int) -> None:
    """Each column is one 1 among C - 1 zeros: its sample variance is 1 / C."""
    assert relative_std(7.0 * torch.eye(channels)) == pytest.approx(1.0, rel=1e-5)


def test_random_directions_have_spread_one_and_nearly_full_rank() -> None:
    points = torch.randn(4096, 16)
    assert relative_std(points) == pytest.approx(1.0, abs=0.02)
    assert effective_rank(points) == pytest.approx(16, abs=0.1)


@pytest.mark.parametrize("number", [1, 2, 5, 8])
def test_equal_orthogonal_directions_count_as_many(number: int) -> None:
    rotation, _ = torch.linalg.qr(torch.randn(8, 8))
    points = torch.cat([rotation[:number], -rotation[:number]])  # centred as they are
    assert effective_rank(points) == pytest.approx(number, rel=1e-4)
    assert effective_rank(100 * points + 3.0) == pytest.approx(number, rel=1e-3)


def test_rank_is_the_exponential_of_the_entropy_of_singular_values() -> None:
    points = torch.randn(20, 6) * torch.tensor([9.0, 4.0, 2.0, 1.0, 0.5, 0.1])
    values = np.linalg.svd(points.double().numpy() - points.double().numpy().mean(0))[1]
    share = values / values.sum()
    expected = math.exp(-(share * np.log(share)).sum())
    assert effective_rank(points) == pytest.approx(expected, rel=1e-5)
    assert 1 < expected < 5


# --- the hook by itself ---


class Watched:
    """A hook and a runner whose log is a list."""

    def __init__(self, **settings: Any) -> None:
        self.hook = CollapseHook(**{"interval": 1, "patience": 0, **settings})
        self.lines: list[str] = []
        logger = logging.Logger("watched")
        logger.addHandler(logging.NullHandler())
        logger.addFilter(lambda record: self.lines.append(record.getMessage()) is None)
        self.scalars: dict[str, float] = {}
        self.runner: Any = SimpleNamespace(
            iter=0,
            logger=logger,
            model=SimpleNamespace(observers=[]),
            message_hub=SimpleNamespace(update_scalar=self.scalars.__setitem__),
        )
        self.hook.before_train(self.runner)

    def see(self, embeddings: Tensor | None = None, share: float | None = None) -> int:
        """One iteration; how many warnings it wrote."""
        metrics = {} if share is None else {"teacher_entropy_share": torch.tensor(share)}
        shown = {} if embeddings is None else {"feature": embeddings}
        before = len(self.lines)
        self.hook.before_train_iter(self.runner, 0)
        for observer in self.runner.model.observers:
            observer({"task": TaskResult(torch.zeros(()), metrics, shown)})
        self.hook.after_train_iter(self.runner, 0)
        self.runner.iter += 1
        return len(self.lines) - before


def spread_out() -> Tensor:
    return torch.randn(32, 16)


def one_point() -> Tensor:
    return torch.ones(32, 16) + 1e-3 * torch.randn(32, 16)


def on_a_line() -> Tensor:
    return torch.linspace(-1, 1, 32)[:, None] * torch.ones(1, 16) + 1e-4 * torch.randn(32, 16)


def test_teachers_that_say_one_thing_or_nothing_are_named() -> None:
    watch = Watched()
    for share in (0.5, 0.003, 0.997):
        assert watch.see(share=share) == 0
    assert watch.see(share=0.001) == 1
    assert "COLLAPSE? task: the teacher puts all images on one prototype" in watch.lines[-1]
    assert "0.0010" in watch.lines[-1]
    assert watch.see(share=0.999) == 1
    assert "COLLAPSE? task: the teacher's output is uniform" in watch.lines[-1]
    assert watch.see(share=0.9995) == 0  # said already


def test_a_warning_comes_again_when_the_collapse_does() -> None:
    watch = Watched()
    seen = [watch.see(one_point()), watch.see(one_point()), watch.see(spread_out())]
    assert [*seen, watch.see(one_point())] == [1, 0, 0, 1]


def test_a_line_is_told_from_a_point() -> None:
    watch = Watched()
    assert watch.see(on_a_line()) == 1 and "lie on a line" in watch.lines[-1]
    assert watch.see(one_point()) == 1 and "nearly the same" in watch.lines[-1]
    assert watch.see(1.0 + 1e-3 * on_a_line().cumsum(dim=1)) == 0  # a short line is a point, still
    assert set(watch.scalars) == {"train/task_feature_std", "train/task_feature_rank"}


def test_nothing_is_said_before_patience_ends() -> None:
    watch = Watched(patience=3)
    assert [watch.see(one_point()) for _ in range(4)] == [0, 0, 1, 0]


def test_the_hook_looks_at_intervals_only() -> None:
    watch = Watched(interval=4)
    looked = []
    for _ in range(8):
        watch.scalars.clear()
        watch.see(spread_out())
        looked.append(bool(watch.scalars))
    assert looked == [False, False, False, True] * 2


def test_the_hook_leaves_no_observer_behind() -> None:
    watch = Watched()
    assert len(watch.runner.model.observers) == 1
    watch.hook.after_train(watch.runner)
    assert watch.runner.model.observers == []
