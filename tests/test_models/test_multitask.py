"""Many tasks in one forward: disjoint patches, clean targets, one pass, honest labels."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from torch.utils._python_dispatch import TorchDispatchMode

from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.balancers.pareto import least_norm_weights
from mmvitssl.models.corruption import blocks, fills
from mmvitssl.models.corruption.harmonise import take
from mmvitssl.models.targets.lab import ab_bins, rgb_to_lab, soft_bins
from mmvitssl.models.targets.patches import grid_view, take_patches
from mmvitssl.models.tasks.rotation import turn
from mmvitssl.registry import MODELS
from mmvitssl.structures import View
from tests.builders import CONTRASTIVE, make_samples, make_views

ENCODER = dict(
    type="ViT",
    arch=dict(embed_dim=32, depth=2, num_heads=2),
    image_size=(48, 64),
    patch_size=8,
    prefix_tokens=("contrast", "rotation"),
    unknown_position=True,
)
SIZE = (48, 64)  # 6 x 8 patches
TASKS: dict[str, dict[str, Any]] = dict(
    contrast=dict(CONTRASTIVE, token="contrast"),
    rotation=dict(type="Rotation", in_channels=32, views=(0, 1)),
    colour=dict(type="Colorization", in_channels=32, patches=5, hidden=16),
    place=dict(type="RelativePosition", in_channels=32, pairs=3),
    jigsaw=dict(type="Jigsaw", in_channels=32, patches=6, cells=48, hidden=16),
    paint=dict(type="Inpainting", in_channels=32, patches=8, patch_size=8,
               modes=("mask", "noise", "other", "blur", "grey")),
)  # fmt: skip


def build(names: tuple[str, ...] = tuple(TASKS), **settings: Any) -> Pretrainer:
    torch.manual_seed(0)
    tasks = {name: TASKS[name] for name in names}
    config = dict(type="Pretrainer", encoder=ENCODER, tasks=tasks, **settings)
    return MODELS.build(config)


def views(batch: int = 4) -> list[View]:
    return make_views(2, batch, SIZE)


def test_nothing_outside_the_patches_changes_by_a_bit() -> None:
    model, shown = build(), views()
    clean = [view.images.clone() for view in shown]
    step = model.start(shown, make_samples())
    model.prepare_views(step)
    rotated = step.view(0)
    assert rotated.corrupted is not None
    given = torch.cat([step.assigned[name, 0].patches for name in
                       ("colour", "place", "jigsaw", "paint")], dim=1)  # fmt: skip
    assert given.shape == (4, 5 + 6 + 6 + 8)
    before, after = grid_view(rotated.images, 8), grid_view(rotated.corrupted, 8)
    changed = (before != after).flatten(3).any(-1).flatten(1)
    allowed = torch.zeros_like(changed).scatter_(1, given, True)
    assert not bool((changed & ~allowed).any())
    assert (changed & allowed).sum() > 0.8 * given.numel()
    assert step.view(1).corrupted is None
    assert torch.equal(shown[0].images, clean[0])  # the caller's tensors are not written to


def test_part_of_a_patch_is_altered_and_restored() -> None:
    torch.manual_seed(0)
    paint = dict(TASKS["paint"], modes=("noise",), part=0.5)
    model = MODELS.build(dict(type="Pretrainer", encoder=ENCODER, tasks=dict(paint=paint)))
    step = model.start(views(), make_samples())
    model.prepare_views(step)
    task, view, given = model.tasks["paint"], step.view(0), step.given(model.tasks["paint"], 0)
    clean, seen = (take(images, 8, given.patches) for images in (view.images, view.seen))
    changed = (clean != seen).any(-1)
    assert changed.flatten(2).sum(-1).unique().tolist() == [16]  # 4 x 4 of 8 x 8 pixels
    rows, columns = changed.any(-1).sum(-1), changed.any(-2).sum(-1)
    assert bool((rows == 4).all()) and bool((columns == 4).all())
    prediction = task._predicted(step, 0)[0].view_as(clean)
    wanted = (prediction - clean).abs()[changed].mean()
    assert task.loss(step).loss.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_blocks_of_the_whole_view_are_altered_and_everything_is_restored() -> None:
    paint = dict(TASKS["paint"], modes=blocks.MODES, on="all", blocks=True)
    model = MODELS.build(dict(type="Pretrainer", encoder=ENCODER, tasks=dict(paint=paint)))
    step = model.start(views(), make_samples())
    model.prepare_views(step)
    task, view = model.tasks["paint"], step.view(0)
    changed = (view.seen != view.images).any(1)
    assert 0.05 < changed.float().mean() < 0.95
    # no whole patches: blocks begin and end anywhere
    assert bool((grid_view(changed[:, None], 8).float().flatten(3).mean(-1) % 1 > 0).any())
    prediction, places = task._predicted(step, 0)
    wanted = (prediction - take_patches(view.images, 8, places)).abs().mean()
    assert task.loss(step).loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    with pytest.raises(ValueError, match="blocks needs on='all'"):
        MODELS.build(dict(paint, on="corrupted", in_channels=32, patch_size=8))


class Operations(TorchDispatchMode):
    """Counts what torch is asked for, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def test_corruption_is_one_operation_whatever_the_batch() -> None:
    """As many calls for 2 images as for 8, and the patches of all tasks are written at once."""
    model, counts = build(), []
    for batch in (2, 8):
        step = model.start(views(batch), make_samples(batch))
        with Operations() as operations:
            model.prepare_views(step)
        counts.append(operations.counts)
    assert counts[0] == counts[1]
    assert counts[0]["index_put_"] == 1  # four tasks alter patches, of one of the views


def test_each_task_gets_what_it_altered() -> None:
    model, shown = build(("colour", "jigsaw", "paint")), views()
    step = model.start(shown, make_samples())
    model.prepare_views(step)
    view, tasks = step.view(0), model.tasks
    seen = view.to_pixels(take(view.seen, 8, step.assigned["colour", 0].singles))
    clean = take(view.pixels, 8, step.assigned["colour", 0].singles)
    torch.testing.assert_close(seen, fills.grey(clean), atol=1e-5, rtol=1e-5)
    slots = step.assigned["jigsaw", 0].singles
    order: Any = tasks["jigsaw"].order(step, 0)
    for image in range(4):
        moved = take(view.seen, 8, slots)[image]
        origin = take(view.images, 8, slots.gather(1, order))[image]
        torch.testing.assert_close(moved, origin, atol=1e-5, rtol=1e-4)


def test_all_tasks_share_one_pass_over_the_online_views() -> None:
    model = build(target=dict(momentum=0.99))
    passes: list[tuple[int, bool]] = []
    model.encoder.register_forward_hook(lambda m, i, o: passes.append((len(i[0]), True)))
    model.target["encoder"].register_forward_hook(lambda m, i, o: passes.append((len(i[0]), False)))
    logs = model(views(), make_samples(), mode="loss")
    assert passes == [(8, True), (8, False)]
    for name in TASKS:
        assert torch.isfinite(logs[f"raw_{name}"]) and f"weight_{name}" in logs
    for name in ("rotation", "place", "jigsaw"):
        assert 0 <= logs[f"{name}_accuracy"] <= 1
    sum(v for k, v in logs.items() if k.startswith("loss")).backward()
    for name, parameter in model.named_parameters():
        if not name.startswith("target.") and name != "encoder.unknown_position":
            assert parameter.grad is not None, name


@pytest.mark.parametrize("name", [name for name in TASKS if name != "contrast"])
def test_any_task_alone_and_any_two(name: str) -> None:
    for names in ((name,), ("contrast", name), (name, "colour" if name != "colour" else "paint")):
        logs = build(names)(views(), make_samples(), mode="loss")
        assert all(torch.isfinite(logs[f"raw_{one}"]) for one in names)


def test_the_momentum_target_sees_clean_views() -> None:
    model = build(("contrast", "paint"), target=dict(momentum=0.99))
    seen: list[torch.Tensor] = []
    model.target["encoder"].register_forward_hook(lambda m, inputs, o: seen.append(inputs[0]))
    shown = views()
    model(shown, make_samples(), mode="loss")
    assert torch.equal(seen[0], torch.cat([view.images for view in shown]))


def test_rotations_turn_squares_and_rectangles() -> None:
    images = torch.rand(4, 3, 6, 6)
    turned = turn(images, torch.arange(4))
    for k in range(4):
        assert torch.equal(turned[k], images[k].rot90(k, dims=(1, 2)))
    wide = turn(torch.rand(4, 3, 6, 8), torch.arange(4))
    assert wide.shape == (4, 3, 6, 8)
    picture = torch.rand(1, 3, 6, 8).expand(4, -1, -1, -1)
    wide = turn(picture, torch.arange(4))
    back = turn(wide[1:2, :, :, 1:7], torch.tensor([3]))
    assert back.shape == (1, 3, 6, 6)


def test_labels_of_rotation_are_those_of_the_view() -> None:
    model, shown = build(("rotation",)), views()
    original = shown[0].pixels.clone()
    step = model.begin(shown, make_samples())
    task: Any = model.tasks["rotation"]
    labels = task.labels(step, 0)
    assert torch.equal(step.view(0).pixels, turn(original, labels))
    assert torch.equal(task.labels(step, 0), labels)


def test_lab_equals_scikit_image() -> None:
    pixels = torch.rand(500, 3)
    expected = rgb2lab(pixels.double().numpy()[None])[0]
    assert np.abs(rgb_to_lab(pixels).numpy() - expected).max() < 1e-3
    greys = torch.rand(50, 1).expand(-1, 3)
    assert rgb_to_lab(greys)[:, 1:].abs().max() < 0.02


def test_soft_bins_are_distributions_around_the_colour() -> None:
    bins = ab_bins()
    soft = soft_bins(bins[:20], bins)
    assert torch.allclose(soft.sum(1), torch.ones(20))
    assert torch.equal(soft.argmax(1), torch.arange(20))
    assert bool(((soft > 0).sum(1) <= 5).all())


@pytest.mark.parametrize("predicts", ["mean", "pixels", "bins"])
def test_views_without_colour_do_not_count(predicts: str) -> None:
    task = dict(type="Colorization", in_channels=32, patches=5, predicts=predicts, patch_size=8)
    config = dict(type="Pretrainer", encoder=ENCODER, tasks=dict(colour=task))
    torch.manual_seed(0)
    model, shown = MODELS.build(config).eval(), views()
    grey = fills.grey(shown[0].pixels.permute(0, 2, 3, 1)[None])[0].permute(0, 3, 1, 2)
    shown[0].pixels[2:] = grey[2:]
    shown[0].images[2:] = (grey[2:] - 0.5) / 0.25
    half = model(shown, make_samples(), mode="loss")
    assert torch.isfinite(half["raw_colour"]) and half["raw_colour"] > 0
    shown[0].pixels[:] = grey
    none = model(shown, make_samples(), mode="loss")
    assert none["raw_colour"] == 0 and none["colour_grey_ab_error"] == 0


def test_rare_colours_weigh_more() -> None:
    task: Any = MODELS.build(
        dict(type="Colorization", in_channels=32, patch_size=8, predicts="bins")
    )
    assert torch.allclose(task.class_weights(), torch.ones(len(task.bins)), atol=1e-4)
    target = torch.zeros(100, len(task.bins))
    target[:, 3] = 1
    for _ in range(400):
        task._count(target, torch.ones(100), torch.tensor(100.0))
    weights = task.class_weights()
    assert weights[3] < weights[4] and (task.prior * weights).sum() == pytest.approx(1.0)


def test_hidden_positions_reach_only_the_surroundings_of_pairs() -> None:
    place = dict(TASKS["place"], hide_position=True)
    config = dict(
        type="Pretrainer", encoder=ENCODER, tasks=dict(place=place, colour=TASKS["colour"])
    )
    torch.manual_seed(0)
    model, shown = MODELS.build(config), views()
    step = model.begin(shown, make_samples())
    unplaced = step.view(0).unplaced
    assert unplaced is not None
    expected = torch.zeros(4, 48, dtype=torch.bool)
    expected.scatter_(1, step.assigned["place", 0].unplaced, True)
    assert torch.equal(unplaced, expected)
    assert unplaced.sum(1).tolist() == [27] * 4  # the cells of three pairs
    with torch.no_grad():
        model.encoder.unknown_position.fill_(3.0)
        placed = model.encoder.embed(shown[0].images)
        hidden = model.encoder.embed(shown[0].images, unplaced=unplaced)
    same = (placed == hidden).all(dim=-1)
    assert torch.equal(same, ~unplaced)
    model(shown, make_samples(), mode="loss")["loss_place"].backward()
    assert model.encoder.unknown_position.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (dict(type="Colorization", in_channels=32, predicts="hue"), "use one of"),
        (dict(type="Colorization", in_channels=16), "in_channels=16"),
        (dict(type="Colorization", in_channels=32, patches=0), "patches=0 must be a whole"),
        (dict(type="Inpainting", patch_size=16), "patch_size=16, but the encoder gives 8"),
        (dict(type="Jigsaw", cells=196), "cells=196, but the encoder gives 48"),
        (dict(type="Inpainting", in_channels=32, modes=("melt",)), "Inpainting needs modes"),
        (dict(type="Jigsaw", in_channels=32, position="nowhere"), "use one of"),
        (dict(type="RelativePosition", in_channels=32, crop=0.0), "0 < crop"),
        (dict(type="Rotation", in_channels=32, token="turn"), "prefix token"),
        (dict(type="Rotation", in_channels=8), "in_channels=8"),
    ],
)
def test_what_does_not_fit_is_refused_when_built(task: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type="Pretrainer", encoder=ENCODER, tasks=dict(task=task)))


def test_an_encoder_that_cannot_hide_positions_is_refused() -> None:
    encoder = {**ENCODER, "unknown_position": False}
    task = dict(TASKS["place"], hide_position=True)
    with pytest.raises(ValueError, match="unknown_position=True"):
        MODELS.build(dict(type="Pretrainer", encoder=encoder, tasks=dict(task=task)))
    with pytest.raises(ValueError, match="needs absolute positions"):
        MODELS.build(dict(encoder, unknown_position=True, position="none"))


def test_jigsaw_counts_the_cells() -> None:
    encoder = {**ENCODER, "image_size": 112}
    task = {key: value for key, value in TASKS["jigsaw"].items() if key != "cells"}
    model = MODELS.build(dict(type="Pretrainer", encoder=encoder, tasks=dict(task=task)))
    with pytest.raises(ValueError, match="cells=196, .* has 6 x 8 patches: set image_size"):
        model(views(), make_samples(), mode="loss")


def test_least_norm_weights_against_closed_forms() -> None:
    alone = least_norm_weights(torch.diag(torch.tensor([1.0, 4.0])))
    assert alone.tolist() == pytest.approx([0.8, 0.2], abs=1e-3)  # inverse to squared norms
    ahead = least_norm_weights(torch.tensor([[1.0, 2.0], [2.0, 9.0]]))
    assert ahead.tolist() == pytest.approx([1.0, 0.0], abs=1e-3)  # the shorter is the answer
    torch.manual_seed(0)
    gradients = torch.randn(4, 30)
    products = gradients @ gradients.T
    weights = least_norm_weights(products, 2000)
    best = weights @ products @ weights
    for _ in range(300):
        other = torch.distributions.Dirichlet(torch.ones(4)).sample()
        assert best <= other @ products @ other + 1e-4


def test_pareto_weights_help_every_task() -> None:
    balancer = dict(type="ParetoWeights", smoothing=0.0)
    model, shown = build(balancer=balancer), views()
    logs = model(shown, make_samples(), mode="loss")
    weights = torch.stack([logs[f"weight_{name}"] for name in TASKS])
    assert weights.sum().item() == pytest.approx(len(TASKS), rel=1e-4) and bool(
        (weights >= 0).all()
    )
    step = model.begin(shown, make_samples())
    losses = {name: result.loss for name, result in model.ask(step).items()}
    total = sum(weights[i] * loss for i, loss in enumerate(losses.values()))
    block = model.trunk.parameters(losses)
    common = torch.autograd.grad(total, block, retain_graph=True)
    for loss in losses.values():
        mine = torch.autograd.grad(loss, block, retain_graph=True)
        product = sum((a * b).sum() for a, b in zip(common, mine, strict=True))
        assert product >= -1e-4 * sum(a.square().sum() for a in common)


def test_targets_and_altered_pixels_do_not_depend_on_the_precision() -> None:
    """Colours and blurred patches are matrix products, which autocast would round."""
    model, shown = build(), views()
    steps = []
    for precise in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not precise):
            steps.append(model.start(shown, make_samples()))
            model.prepare_views(steps[-1])
            steps[-1].once(model, "lab", lambda: rgb_to_lab(shown[0].pixels.movedim(1, -1)))
    for exact, rough in zip(steps[0].views, steps[1].views, strict=True):
        assert torch.equal(exact.seen, rough.seen) and torch.equal(exact.images, rough.images)
    exact, rough = (step.once(model, "lab", lambda: None) for step in steps)
    assert exact is not None and torch.equal(exact, rough)
