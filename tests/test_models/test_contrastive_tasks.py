"""Contrast and self-distillation on both encoders: passes, losses, gradients, state, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.models.backbones import ViT
from mmvitssl.models.necks import MultiHierarchyFusion
from mmvitssl.models.necks.fusion import TransformerFusion
from mmvitssl.models.tasks.contrastive import feature_of
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded, View
from tests.builders import make_samples, make_views
from tests.test_models.test_contrastive_heads import (
    byol64,
    dino64,
    directions,
    infonce64,
    queue64,
    simclr64,
)

BATCH, PROTOTYPES, QUEUE = 4, 11, 12
Config = dict[str, Any]
ENCODERS: dict[str, Config] = {
    "vit": dict(
        type="ViT",
        arch=dict(embed_dim=32, depth=4, num_heads=2),
        image_size=32,
        patch_size=8,
        interpolate_offset=0.1,
    ),
    "swin": dict(
        type="SwinTransformer",
        arch=dict(embed_dim=16, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8)),
        window_size=2,
        image_size=32,
    ),
}
WIDTHS = {"vit": 32, "swin": 128}


def mlp(inputs: int, **options: Any) -> Config:
    settings = dict(in_channels=inputs, hidden_channels=24, out_channels=16)
    return dict(type="ProjectionMLP", **settings, **options)


def contrast(width: int, head: Config, options: Config, **task: Any) -> Config:
    """A task whose heads have the given options; a predictor where the task asks for one."""
    if task.pop("predicts", False):
        task["predictor"] = mlp(16, **{**options, "num_layers": 2})
    return dict(type="Contrastive", projector=mlp(width, **options), head=head, **task)


BYOL_HEADS = dict(num_layers=2, bias=True, last_bias=False, last_norm=False)
MOBY_HEADS = dict(num_layers=2, bias=True, last_norm=False)
MOCO_HEADS = dict(num_layers=2, bias=True, norm=False, last_norm=False)
QUEUES = dict(type="QueueInfoNCE", channels=16, size=QUEUE)
DINO_HEAD = dict(type="DINOLoss", prototypes=PROTOTYPES)
TASKS: dict[str, Callable[[int], Config]] = {
    "simclr": lambda width: contrast(
        width, dict(type="NTXent"), dict(last_affine=True), keys="online"
    ),
    "mocov2": lambda width: contrast(
        width, dict(**QUEUES, queues=1, first_view=1), MOCO_HEADS, pairs=((0, 1),)
    ),
    "mocov3": lambda width: contrast(
        width, dict(type="InfoNCE", temperature=0.2, scale=0.4), {}, predicts=True
    ),
    "moby": lambda width: contrast(width, QUEUES, MOBY_HEADS, predicts=True),
    "byol": lambda width: contrast(width, dict(type="CosineLoss"), BYOL_HEADS, predicts=True),
    "simsiam": lambda width: contrast(
        width,
        dict(type="CosineLoss", scale=0.5, offset=0.5),
        {},
        keys="detached",
        predicts=True,
    ),
    "dino": lambda width: dict(
        type="SelfDistillation",
        local_views=(2, 3),
        projector=dict(
            type="PrototypeMLP",
            in_channels=width,
            prototypes=PROTOTYPES,
            hidden_channels=24,
            bottleneck=8,
        ),
        head=DINO_HEAD,
    ),
}
WITH_TARGET = ("mocov2", "mocov3", "moby", "byol", "dino")
EVERY_METHOD = pytest.mark.parametrize("name", TASKS)
EVERY_ENCODER = pytest.mark.parametrize("encoder", ENCODERS)


def changed(config: Config, **changes: Any) -> Config:
    return {**config, **changes}


def build(
    name: str, encoder: str = "vit", target: Config | None = None, **tasks: Config
) -> Pretrainer:
    """A method on an encoder; its target starts elsewhere, so that branches can be told apart."""
    has_target = name in WITH_TARGET
    model: Pretrainer = MODELS.build(
        dict(
            type="Pretrainer",
            encoder=ENCODERS[encoder],
            target=changed(dict(momentum=0.99), **(target or {})) if has_target else None,
            tasks=dict(method=TASKS[name](WIDTHS[encoder]), **tasks),
        )
    )
    for parameter in model.target.parameters() if model.target else ():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def views_of(name: str, local: int = 2) -> list[View]:
    crops = make_views(local, BATCH, (16, 16)) if name == "dino" else []
    return [*make_views(2, BATCH, (32, 32)), *crops]


def run(model: Pretrainer, views: list[View]) -> dict[str, Tensor]:
    logs = model(views, make_samples(BATCH), mode="loss")
    assert isinstance(logs, dict)
    return logs  # type: ignore[return-value]


def watch(module: nn.Module) -> list[Tensor]:
    """Inputs of the passes through a module, filled as they happen."""
    seen: list[Tensor] = []
    module.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    return seen


def sizes(seen: list[Tensor]) -> list[int]:
    return [len(batch) for batch in seen]


# --- what runs ---


def test_mocov2_shows_queries_to_the_encoder_and_keys_to_the_target_only() -> None:
    model, views = build("mocov2"), views_of("mocov2")
    assert model.target is not None
    online, target = watch(model.encoder), watch(model.target["encoder"])
    mine = watch(model.tasks["method"].projector)
    theirs = watch(model.target["method_projector"])
    run(model, views)
    assert len(online) == len(target) == 1
    assert torch.equal(online[0], views[0].images) and torch.equal(target[0], views[1].images)
    assert sizes(mine) == sizes(theirs) == [BATCH]


@pytest.mark.parametrize("name", ["mocov3", "moby", "byol"])
def test_symmetric_methods_run_both_branches_once_over_both_views(name: str) -> None:
    model, views = build(name), views_of(name)
    assert model.target is not None
    task: Any = model.tasks["method"]
    online, target = watch(model.encoder), watch(model.target["encoder"])
    mine, theirs = watch(task.projector), watch(model.target["method_projector"])
    predicted = watch(task.predictor)
    run(model, views)
    both = torch.cat([view.images for view in views])
    assert len(online) == len(target) == 1
    assert torch.equal(online[0], both) and torch.equal(target[0], both)
    assert sizes(mine) == sizes(theirs) == sizes(predicted) == [BATCH, BATCH]


@pytest.mark.parametrize("name", ["simclr", "simsiam"])
def test_without_target_each_view_goes_through_once(name: str) -> None:
    model = build(name)
    task: Any = model.tasks["method"]
    online, projected, predicted = map(watch, (model.encoder, task.projector, task.predictor))
    run(model, views_of(name))
    assert sizes(online) == [2 * BATCH]
    assert sizes(projected) == sizes(predicted) == [BATCH, BATCH]


def test_dino_shows_all_crops_to_the_student_and_global_ones_to_the_teacher() -> None:
    model, views = build("dino"), views_of("dino")
    assert model.target is not None
    online, target = watch(model.encoder), watch(model.target["encoder"])
    mine = watch(model.tasks["method"].projector)
    theirs = watch(model.target["method_projector"])
    run(model, views)
    large, small = (torch.cat([view.images for view in pair]) for pair in (views[:2], views[2:]))
    assert len(online) == 2 and len(target) == 1
    assert torch.equal(online[0], large) and torch.equal(online[1], small)
    assert torch.equal(target[0], large)
    assert sizes(mine) == [4 * BATCH] and sizes(theirs) == [2 * BATCH]


class Recorder(nn.Module):
    """A head that notes which view its keys came from."""

    metric = "none"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor, int]] = []
        self.updates: list[list[int]] = []

    def forward(self, queries: Tensor, keys: Tensor, view: int) -> tuple[Tensor, Tensor]:
        self.calls.append((queries, keys, view))
        return queries.sum() * 0 + 1, torch.zeros(())

    def update(self, keys: dict[int, Tensor]) -> None:
        self.updates.append(sorted(keys))


@pytest.mark.parametrize("keys", ["target", "detached", "online"])
def test_pairs_say_which_view_is_compared_with_which(keys: str) -> None:
    config = changed(
        TASKS["mocov3"](32), views=(0, 1, 2), pairs=((2, 0), (0, 1), (2, 1)), keys=keys
    )
    model = MODELS.build(
        dict(type="Pretrainer", encoder=ENCODERS["vit"], target={}, tasks=dict(method=config))
    )
    task: Any = model.tasks["method"]
    task.head = recorder = Recorder()
    step = model.begin(make_views(3, BATCH, (32, 32)), make_samples(BATCH))
    online, values = task.embeddings(step)
    result = task.loss(step)
    assert result.loss == 3  # a sum over pairs
    assert recorder.updates == [[0, 1]]
    asked = [view for _, _, view in recorder.calls]
    assert asked == [1, 0, 1]
    for (query, key, _), (first, second) in zip(
        recorder.calls, ((0, 1), (2, 0), (2, 1)), strict=True
    ):
        torch.testing.assert_close(query, task.predictor(online[first]))
        torch.testing.assert_close(key, values[second])
        assert key.requires_grad == (keys == "online")


def test_all_ordered_pairs_are_compared_by_default() -> None:
    config = changed(TASKS["byol"](32), views=(0, 1, 2))
    task: Any = MODELS.build(config)
    assert sorted(task.pairs) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]


@pytest.mark.parametrize("name", ["mocov3", "moby", "byol", "mocov2"])
def test_keys_are_the_targets_embeddings(name: str) -> None:
    model, views = build(name), views_of(name)
    assert model.target is not None
    task: Any = model.tasks["method"]
    _, keys = task.embeddings(model.begin(views, make_samples(BATCH)))
    assert set(keys) == ({1} if name == "mocov2" else {0, 1})
    for view, key in keys.items():
        feature = model.target["encoder"](views[view].images).cls
        torch.testing.assert_close(key, model.target["method_projector"](feature))
        assert not torch.allclose(key, task.projector(model.encoder(views[view].images).cls))


def test_teacher_and_student_are_target_and_online_branch() -> None:
    model, views = build("dino"), views_of("dino")
    assert model.target is not None
    task: Any = model.tasks["method"]
    step = model.begin(views, make_samples(BATCH))
    student, teacher = task.student(step), task.teacher(step)
    assert list(student) == [0, 1, 2, 3] and list(teacher) == [0, 1]
    for view, logits in student.items():
        torch.testing.assert_close(logits, task.projector(model.encoder(views[view].images).cls))
    for view, logits in teacher.items():
        feature = model.target["encoder"](views[view].images).cls
        torch.testing.assert_close(logits, model.target["method_projector"](feature))


@pytest.mark.parametrize(("has_target", "expected"), [(True, "target"), (False, "detached")])
def test_keys_come_from_the_target_where_there_is_one(has_target: bool, expected: str) -> None:
    config = dict(type="Pretrainer", encoder=ENCODERS["vit"], tasks=dict(method=TASKS["byol"](32)))
    model = MODELS.build(changed(config, target={} if has_target else None))
    assert model.tasks["method"].keys == expected


def test_a_target_does_not_follow_a_projector_that_gives_no_keys() -> None:
    config = changed(TASKS["simsiam"](32))
    model = MODELS.build(
        dict(type="Pretrainer", encoder=ENCODERS["vit"], target={}, tasks=dict(method=config))
    )
    assert set(model.target.modules_by_name) == {"encoder"}


# --- losses ---


def official(name: str, model: Pretrainer, step: PretrainStep) -> Tensor:
    """The published loss in float64, of the embeddings that the task makes."""
    task: Any = model.tasks["method"]
    if name == "dino":
        student, teacher = (list(out.values()) for out in (task.student(step), task.teacher(step)))
        return dino64(student, teacher, task.head.center, 0.04)[0]
    online, keys = task.embeddings(step)
    queries = {view: task.predictor(value) for view, value in online.items()}
    if name == "simclr":
        return simclr64(queries[0], queries[1], 0.1)
    if name == "mocov2":
        return queue64(queries[0], keys[1], task.head.queue_0, 0.2)
    if name == "moby":
        first = queue64(queries[0], keys[1], task.head.queue_1, 0.2)
        return first + queue64(queries[1], keys[0], task.head.queue_0, 0.2)
    if name == "mocov3":
        both = infonce64(queries[0], keys[1], 0.2) + infonce64(queries[1], keys[0], 0.2)
        return 2 * 0.2 * both
    both = byol64(queries[0], keys[1]) + byol64(queries[1], keys[0])
    # - cos / 2 + 1 / 2 is a quarter of the squared distance
    return both if name == "byol" else both / 4


@EVERY_METHOD
def test_losses_are_the_published_ones(name: str) -> None:
    model = build(name)
    step = model.begin(views_of(name), make_samples(BATCH))
    expected = official(name, model, step)
    task: Any = model.tasks["method"]
    assert task.loss(step).loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_dino_with_eight_small_crops_averages_eighteen_pairs() -> None:
    config = changed(TASKS["dino"](32), local_views=tuple(range(2, 10)))
    model = MODELS.build(
        dict(type="Pretrainer", encoder=ENCODERS["vit"], target={}, tasks=dict(method=config))
    )
    task: Any = model.tasks["method"]
    step = model.begin(views_of("dino", local=8), make_samples(BATCH))
    student, teacher = (list(out.values()) for out in (task.student(step), task.teacher(step)))
    expected, pairs = dino64(student, teacher, task.head.center, 0.04)
    assert pairs == 18
    assert task.loss(step).loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_dino_reads_its_epoch_from_the_samples() -> None:
    model = build("dino").eval()
    task: Any = model.tasks["method"]
    task.head.warmup_epochs, task.head.teacher_temperature = 3, 0.4
    views = views_of("dino")
    for epoch, temperature in ((0, 0.04), (1, 0.22), (2, 0.4), (7, 0.4)):
        step = model.begin(views, make_samples(BATCH, epoch))
        student, teacher = (list(out.values()) for out in (task.student(step), task.teacher(step)))
        expected, _ = dino64(student, teacher, task.head.center, temperature)
        assert task.loss(step).loss.item() == pytest.approx(expected.item(), rel=1e-4)


# --- gradients ---


def without_gradient(model: nn.Module) -> set[str]:
    return {
        name
        for name, p in model.named_parameters()
        if p.grad is None or float(p.grad.abs().sum()) == 0.0
    }


@EVERY_ENCODER
@EVERY_METHOD
def test_all_of_the_online_branch_learns_and_nothing_of_the_target(name: str, encoder: str) -> None:
    model = build(name, encoder)
    if model.target is not None:
        model.target.requires_grad_(True)  # so that a leak would show
    run(model, views_of(name))["loss_method"].backward()
    online, target = model.encoder, model.target
    # SimCLR's last batch norm has a scale alone
    fixed = {"dino": {"projector.last_layer.weight_g"}, "simclr": {"projector.layers.7.bias"}}
    assert without_gradient(model.tasks["method"]) == fixed.get(name, set())
    assert without_gradient(online) == set()
    for parameter in target.parameters() if target is not None else ():
        assert parameter.grad is None


@EVERY_METHOD
def test_gradient_reaches_pixels_of_query_views_only(name: str) -> None:
    """One direction, so that a view is a query or a key: stop-gradients and targets hold."""
    if name == "dino":
        config = changed(TASKS[name](32), global_views=(1,), local_views=(0,))
    else:
        config = changed(TASKS[name](32), pairs=((0, 1),))
    target: Config | None = {} if name in WITH_TARGET else None
    model = MODELS.build(
        dict(type="Pretrainer", encoder=ENCODERS["vit"], target=target, tasks=dict(method=config))
    )
    views = make_views(2, BATCH, (32, 32))
    for view in views:
        view.images.requires_grad_(True)
    if name == "mocov2":
        assert model.tasks["method"].head.first_view == 1
    run(model, views)["loss_method"].backward()
    reached = [v.images.grad is not None and bool(v.images.grad.abs().sum() > 0) for v in views]
    assert reached == [True, name == "simclr"]


# --- state ---


@EVERY_ENCODER
@pytest.mark.parametrize("rate", [0.0, None])
def test_target_drops_no_paths_where_it_is_told_so(encoder: str, rate: float | None) -> None:
    config = dict(
        type="Pretrainer",
        encoder=changed(ENCODERS[encoder], drop_path=0.9),
        target=dict(drop_path=rate),
        tasks=dict(method=TASKS["byol"](WIDTHS[encoder])),
    )
    model = MODELS.build(config).train()
    images = make_views(1, BATCH, (32, 32))[0].images
    online, target = (
        [branch(images).cls for _ in range(2)]
        for branch in (model.encoder, model.target["encoder"])
    )
    assert not torch.equal(online[0], online[1])
    assert torch.equal(target[0], target[1]) == (rate == 0.0)


def kept(model: Pretrainer) -> dict[str, Tensor]:
    """What the head remembers of earlier batches."""
    return {name: value.clone() for name, value in model.tasks["method"].head.named_buffers()}


@pytest.mark.parametrize("name", ["mocov2", "moby", "dino"])
def test_queues_and_centres_move_in_training_only(name: str) -> None:
    model, views = build(name), views_of(name)
    before = kept(model)
    assert set(before) in ({"queue_0", "pointer"}, {"queue_0", "queue_1", "pointer"}, {"center"})
    model.eval()
    model(views, make_samples(BATCH), mode="predict")
    run(model, views)
    for key, value in kept(model).items():
        assert torch.equal(value, before[key]), key
    model.train()
    run(model, views)
    for key, value in kept(model).items():
        assert not torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", ["mocov2", "moby"])
def test_keys_of_a_view_enter_the_queue_of_that_view(name: str) -> None:
    model = build(name)
    task: Any = model.tasks["method"]
    step = model.begin(views_of(name), make_samples(BATCH))
    _, keys = task.embeddings(step)
    task.loss(step)
    queues = {1: "queue_0"} if name == "mocov2" else {0: "queue_0", 1: "queue_1"}
    for view, queue in queues.items():
        stored = getattr(task.head, queue)[:, :BATCH].T
        torch.testing.assert_close(stored, directions(keys[view]).float(), atol=1e-6, rtol=1e-5)
    assert task.head.pointer == BATCH


def test_centre_moves_to_the_mean_of_both_global_views() -> None:
    model = build("dino")
    task: Any = model.tasks["method"]
    step = model.begin(views_of("dino"), make_samples(BATCH))
    mean = torch.cat(list(task.teacher(step).values())).double().mean(dim=0, keepdim=True)
    task.loss(step)
    torch.testing.assert_close(task.head.center.double(), 0.1 * mean, atol=1e-7, rtol=1e-5)


@EVERY_METHOD
def test_results_show_embeddings_that_watchers_may_keep(name: str) -> None:
    model = build(name)
    kept_results: list[Any] = []
    model.observers.append(kept_results.append)
    run(model, views_of(name))
    shown = kept_results[0]["method"].embeddings
    assert shown["feature"].shape == (BATCH, 32)
    assert set(shown) == ({"feature"} if name == "dino" else {"feature", "projection"})
    assert not any(value.requires_grad for value in shown.values())


# --- RePre beside each method ---


def reconstruction(encoder: str, **neck: Any) -> Config:
    widths = {"vit": 32, "swin": (16, 32, 64, 128)}[encoder]
    size = {"vit": 8, "swin": 4}[encoder]
    settings = dict(type="MultiHierarchyFusion", in_channels=widths, width=16, patch_size=size)
    return dict(
        type="Reconstruction",
        levels=(0, 1, 2, 3),
        neck=changed(settings, **neck),
        head=dict(type="PixelLoss"),
    )


@EVERY_ENCODER
@EVERY_METHOD
def test_repre_stands_beside_every_method(name: str, encoder: str) -> None:
    model, views = build(name, encoder, repre=reconstruction(encoder)), views_of(name)
    passes = watch(model.encoder)
    logs = run(model, views)
    # MoCo v2 shows one view, DINO crops of two sizes, the others two views of one
    assert sizes(passes) == {"mocov2": [4], "dino": [8, 8]}.get(name, [8])
    assert torch.isfinite(logs["loss_repre"]) and torch.isfinite(logs["loss_method"])
    logs["loss_repre"].backward()
    assert without_gradient(model.encoder) == {"norm.weight", "norm.bias"}  # levels are raw
    assert without_gradient(model.tasks["repre"]) == set()
    method = model.tasks["method"]
    assert without_gradient(method) == {key for key, _ in method.named_parameters()}


@EVERY_ENCODER
@EVERY_METHOD
def test_repre_leaves_the_loss_of_the_method_as_it_is(name: str, encoder: str) -> None:
    views = views_of(name)
    alone, both = build(name, encoder), build(name, encoder, repre=reconstruction(encoder))
    missing, unexpected = both.load_state_dict(alone.state_dict(), strict=False)
    assert not unexpected and all(key.startswith("tasks.repre.") for key in missing)
    losses = [run(model, views)["raw_method"] for model in (alone, both)]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_transformer_fusion_keeps_shapes(layers: int) -> None:
    fusion = TransformerFusion(24, 32, layers)
    assert len(fusion.blocks) == layers
    assert fusion(torch.randn(2, 24, 3, 5)).shape == (2, 32, 3, 5)
    decoder = MultiHierarchyFusion(
        (8, 16, 32), levels=3, width=32, layers=layers, patch_size=4, fusion="transformer"
    )
    maps = [torch.randn(2, 8, 8, 12), torch.randn(2, 16, 4, 6), torch.randn(2, 32, 2, 3)]
    picture = decoder(maps)
    assert picture.shape == (2, 3, 32, 48)
    picture.square().mean().backward()
    assert without_gradient(decoder) == set()


def test_transformer_fusion_keeps_positions_in_place() -> None:
    """It knows no positions, so that permuted ones come out permuted, each where it was."""
    fusion, features = TransformerFusion(6, 32, 2), torch.randn(2, 6, 3, 5)
    plain = fusion(features)
    order = torch.randperm(15)
    shuffled = fusion(features.flatten(2)[..., order].view_as(features))
    torch.testing.assert_close(shuffled.flatten(2), plain.flatten(2)[..., order])
    assert not torch.allclose(plain.flatten(2)[..., order], plain.flatten(2))


def test_transformer_fusion_sees_all_positions_and_convolution_its_neighbours() -> None:
    reach = {}
    for fusion in ("transformer", "convolution"):
        decoder = MultiHierarchyFusion(8, levels=2, width=32, layers=1, patch_size=2, fusion=fusion)
        maps = [torch.randn(1, 8, 7, 7, requires_grad=True) for _ in range(2)]
        decoder(maps)[..., 0, 0].sum().backward()
        assert maps[0].grad is not None
        reach[fusion] = int((maps[0].grad.abs().sum(dim=1) > 0).sum())
    assert reach["transformer"] == 49 and reach["convolution"] <= 4


def test_an_unknown_fusion_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"fusion='mlp' is unknown; .*'convolution', .*'transformer'"
    ):
        MultiHierarchyFusion(8, fusion="mlp")


# --- small crops ---


@pytest.mark.parametrize("grid", [(6, 6), (3, 5), (16, 15), (14, 9)])
def test_positions_of_small_crops_are_resized_as_dino_does(grid: tuple[int, int]) -> None:
    vit = ViT(arch=dict(embed_dim=8, depth=1, num_heads=1), interpolate_offset=0.1)
    assert vit.grid == (14, 14) and vit.pos_embed is not None
    nn.init.normal_(vit.pos_embed)
    square = vit.pos_embed[:, 1:].reshape(1, 14, 14, 8).permute(0, 3, 1, 2)
    scale = ((grid[0] + 0.1) / 14, (grid[1] + 0.1) / 14)
    resized = F.interpolate(square, scale_factor=scale, mode="bicubic")
    assert resized.shape[-2:] == grid
    expected = resized.permute(0, 2, 3, 1).reshape(1, -1, 8)
    found = vit.resized_position(grid)
    assert torch.equal(found[:, :1], vit.pos_embed[:, :1])
    torch.testing.assert_close(found[:, 1:], expected)
    vit.interpolate_offset = 0.0
    exact = F.interpolate(square, size=grid, mode="bicubic").permute(0, 2, 3, 1)
    plain = vit.resized_position(grid)[:, 1:]
    torch.testing.assert_close(plain, exact.reshape(1, -1, 8))
    assert (plain - expected).abs().max() > 1e-3


def test_no_crop_size_loses_a_row_to_the_offset() -> None:
    vit = ViT(arch=dict(embed_dim=8, depth=1, num_heads=1), interpolate_offset=0.1)
    for side in range(1, 40):
        assert vit.resized_position((side, side)).shape[1] == 1 + side * side


def test_small_crops_enter_with_those_positions() -> None:
    vit: ViT = MODELS.build(ENCODERS["vit"])
    assert vit.pos_embed is not None
    nn.init.normal_(vit.pos_embed)
    crop = make_views(1, 2, (16, 24))[0].images
    square = vit.pos_embed[:, 1:].reshape(1, 4, 4, 32).permute(0, 3, 1, 2)
    position = F.interpolate(square, scale_factor=(2.1 / 4, 3.1 / 4), mode="bicubic")
    expected = vit.patch_embed.proj(crop) + position
    torch.testing.assert_close(vit.embed(crop), expected.flatten(2).transpose(1, 2))


# --- what is refused ---


def refuse(task: Config, target: Config | None, message: str) -> None:
    config = dict(
        type="Pretrainer", encoder=ENCODERS["vit"], target=target, tasks=dict(method=task)
    )
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


def test_the_mean_of_the_patches_can_stand_for_an_image() -> None:
    patches = torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [-2.0, 4.0]]])
    encoded = Encoded(torch.zeros(2, 2), {}, patches, {}, (1, 2))
    assert feature_of(encoded, "mean").tolist() == [[2.0, 4.0], [-1.0, 2.0]]
    assert feature_of(encoded, "cls").tolist() == [[0.0, 0.0]] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(keys="target"), "keys='target' needs a momentum target"),
        (dict(keys="queue"), "keys='queue' is unknown; use None or one of"),
        (dict(pairs=((0, 2),)), "must be pairs of the views \\(0, 1\\)"),
        (dict(pairs=((1, 1),)), "must be pairs of the views"),
        (dict(pairs=()), "must be pairs of the views"),
        (dict(views=(0,)), "at least 2 different views"),
        (dict(views=(1, 1)), "at least 2 different views"),
        (dict(views=(-1, 0)), "counted from 0"),
        (dict(token="rotation"), "token='rotation' is no prefix token"),
        (dict(projector=mlp(33)), "projector.in_channels=33, but the encoder gives 32"),
    ],
)
def test_contrast_that_cannot_work_is_refused(changes: Config, message: str) -> None:
    refuse(changed(TASKS["byol"](32), **changes), None, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(global_views=()), "global_views is empty"),
        (dict(global_views=(0, 1), local_views=(1, 2)), "at least 2 different views"),
        (dict(global_views=(0,), local_views=()), "at least 2 different views"),
        (dict(token="rotation"), "token='rotation' is no prefix token"),
        (dict(head=dict(type="DINOLoss", prototypes=7)), "head.prototypes=7, but .* gives 11"),
        (
            dict(projector=dict(type="PrototypeMLP", in_channels=31, prototypes=PROTOTYPES)),
            "projector.in_channels=31, but the encoder gives 32",
        ),
    ],
)
def test_distillation_that_cannot_work_is_refused(changes: Config, message: str) -> None:
    refuse(changed(TASKS["dino"](32), **changes), {}, message)


def test_distillation_without_a_teacher_is_refused() -> None:
    refuse(TASKS["dino"](32), None, "needs a momentum target, its teacher")


def test_a_queue_that_fits_no_view_says_so_at_the_first_batch() -> None:
    head = dict(**QUEUES, queues=1)
    task = changed(TASKS["moby"](32), head=head)
    model = MODELS.build(
        dict(type="Pretrainer", encoder=ENCODERS["vit"], target={}, tasks=dict(method=task))
    )
    with pytest.raises(ValueError, match="keys came from view 1: set queues and first_view"):
        run(model, views_of("moby"))


def test_named_tokens_serve_in_place_of_the_class_token() -> None:
    encoder = changed(ENCODERS["vit"], prefix_tokens=("contrast",))
    config = dict(
        type="Pretrainer",
        encoder=encoder,
        target={},
        tasks=dict(
            contrast=changed(TASKS["byol"](32), token="contrast"),
            distillation=changed(TASKS["dino"](32), token="contrast"),
        ),
    )
    model = MODELS.build(config)
    views = views_of("dino")
    results = model.ask(model.begin(views, make_samples(BATCH)))
    token = model.encoder(views[0].images).prefix["contrast"]
    for result in results.values():
        torch.testing.assert_close(result.embeddings["feature"], token.detach())
    assert not torch.allclose(token, model.encoder(views[0].images).cls)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("predictor", dict(in_channels=12)),
        ("predictor", dict(out_channels=12)),
        ("head", dict(type="QueueInfoNCE", channels=12, size=8)),
    ],
)
def test_widths_behind_the_projector_must_agree(part: str, change: dict[str, Any]) -> None:
    mlp = dict(type="ProjectionMLP", hidden_channels=8, out_channels=16, num_layers=2)
    task: dict[str, Any] = dict(
        type="Contrastive",
        projector=dict(mlp, in_channels=32),
        predictor=dict(mlp, in_channels=16),
        head=dict(type="InfoNCE"),
    )
    task[part] = {**task[part], **change} if "type" not in change else change
    encoder = dict(
        type="ViT", arch=dict(embed_dim=32, depth=1, num_heads=2), image_size=16, patch_size=8
    )
    with pytest.raises(ValueError, match="=12, but Contrastive.projector.out_channels gives 16"):
        MODELS.build(dict(type="Pretrainer", encoder=encoder, tasks=dict(task=task)))
