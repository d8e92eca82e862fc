"""Losses of the contrastive family against their official formulas, written out in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmvitssl.models.heads import CosineLoss, DINOLoss, InfoNCE, NTXent, QueueInfoNCE
from mmvitssl.models.necks import ProjectionMLP, PrototypeMLP

BATCH, CHANNELS = 6, 5


def directions(vectors: Tensor) -> Tensor:
    """Rows of length 1 in float64, through which gradients flow."""
    vectors = vectors.double()
    return vectors / vectors.square().sum(dim=1, keepdim=True).sqrt()


def cross_entropy(scores: Sequence[Tensor], positive: int) -> Tensor:
    return torch.stack([score.exp() for score in scores]).sum().log() - scores[positive]


def simclr64(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """objective.py: the sum of two means over the other 2N - 1 embeddings."""
    a, b = directions(first), directions(second)
    total = torch.zeros((), dtype=torch.float64)
    for mine, other in ((a, b), (b, a)):
        for i in range(len(mine)):
            scores = [mine[i] @ key / temperature for key in other]
            scores += [mine[i] @ key / temperature for j, key in enumerate(mine) if j != i]
            assert len(scores) == 2 * len(mine) - 1
            total = total + cross_entropy(scores, i) / len(mine)
    return total


def infonce64(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """MoCo v3's algorithm 1 before its factor 2T: the other keys of the batch are negatives."""
    q, k = directions(queries), directions(keys)
    losses = [cross_entropy([one @ key / temperature for key in k], i) for i, one in enumerate(q)]
    return torch.stack(losses).mean()


def queue64(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """MoCo v2 and MoBY: label 0 among the own key and the columns of a queue."""
    losses = []
    for query, key in zip(directions(queries), directions(keys), strict=True):
        scores = [query @ key, *(query @ old for old in queue.double().T)]
        losses.append(cross_entropy([score / temperature for score in scores], 0))
    return torch.stack(losses).mean()


def byol64(queries: Tensor, keys: Tensor) -> Tensor:
    """Squared distance of normalised vectors, which is 2 - 2 cos."""
    return (directions(queries) - directions(keys)).square().sum(dim=1).mean()


def dino64(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    center: Tensor,
    teacher_temperature: float,
    student_temperature: float = 0.1,
) -> tuple[Tensor, int]:
    """main_dino.py's double loop over (teacher crop, student crop), and how many pairs it had."""
    total, pairs = torch.zeros((), dtype=torch.float64), 0
    for i, seen in enumerate(teacher):
        weights = ((seen.double() - center.double()) / teacher_temperature).exp()
        target = weights / weights.sum(dim=1, keepdim=True)
        for j, said in enumerate(student):
            if i != j:
                scaled = said.double() / student_temperature
                log = scaled - scaled.exp().sum(dim=1, keepdim=True).log()
                total = total - (target * log).sum(dim=1).mean()
                pairs += 1
    return total / pairs, pairs


def embeddings(number: int, batch: int = BATCH, channels: int = CHANNELS) -> list[Tensor]:
    return [torch.randn(batch, channels, requires_grad=True) for _ in range(number)]


def gradients(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs))


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_simclr_and_its_gradients_are_the_official_formula(temperature: float) -> None:
    a, b = embeddings(2)
    head = NTXent(temperature)
    loss = head(a, b, 1)[0] + head(b, a, 0)[0]
    expected = simclr64(a, b, temperature)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    pairs = zip(gradients(loss, a, b), gradients(expected, a, b), strict=True)
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_half_of_simclr_gives_gradient_to_keys_and_negatives_too() -> None:
    a, b = embeddings(2)
    loss, _ = NTXent(0.2)(a[:1], b[:1])
    assert loss.item() == pytest.approx(0.0, abs=1e-6)  # one image has no negatives
    first, _ = NTXent(0.2)(a, b)
    mine, theirs = gradients(first, a, b)
    assert (mine.norm(dim=1) > 1e-4).all() and (theirs.norm(dim=1) > 1e-4).all()


def test_simclr_never_takes_an_image_for_its_own_negative_or_positive() -> None:
    """Without the mask, q . q / T = 10 would win over every key."""
    a = torch.eye(4, requires_grad=True)
    loss, accuracy = NTXent(0.1)(a, a.detach().clone())
    assert accuracy == 1
    assert loss.item() == pytest.approx(math.log(math.exp(10) + 6) - 10, rel=1e-3)
    opposite, accuracy = NTXent(0.1)(a, -a.detach())
    assert accuracy == 0
    assert opposite.item() == pytest.approx(math.log(math.exp(-10) + 6) + 10, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_mocov3_is_scaled_by_twice_the_temperature(temperature: float) -> None:
    q1, q2, k1, k2 = embeddings(4)
    head = InfoNCE(temperature, scale=2 * temperature)
    loss = head(q1, k2, 1)[0] + head(q2, k1, 0)[0]
    both = infonce64(q1, k2, temperature) + infonce64(q2, k1, temperature)
    assert loss.item() == pytest.approx(2 * temperature * both.item(), rel=1e-5)


def test_mocov2_compares_one_direction_with_one_queue() -> None:
    (q, k) = embeddings(2)
    head = QueueInfoNCE(CHANNELS, size=12, temperature=0.2, queues=1, first_view=1)
    assert [name for name, _ in head.named_buffers()] == ["queue_0", "pointer"]
    loss, accuracy = head(q, k, 1)
    expected = queue64(q, k, head.queue_0, 0.2)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    mine, theirs = gradients(loss, q)[0], gradients(expected, q)[0]
    torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)
    nearest = directions(q) @ head.queue_0.double()
    won = (directions(q) * directions(k)).sum(dim=1) > nearest.amax(dim=1)
    assert accuracy.item() == pytest.approx(won.double().mean().item())


def test_moby_crosses_its_two_queues() -> None:
    q1, q2, k1, k2 = embeddings(4)
    head = QueueInfoNCE(CHANNELS, size=12, temperature=0.2, queues=2)
    loss = head(q1, k2, 1)[0] + head(q2, k1, 0)[0]
    crossed = queue64(q1, k2, head.queue_1, 0.2) + queue64(q2, k1, head.queue_0, 0.2)
    straight = queue64(q1, k2, head.queue_0, 0.2) + queue64(q2, k1, head.queue_1, 0.2)
    assert loss.item() == pytest.approx(crossed.item(), rel=1e-5)
    assert abs(crossed.item() - straight.item()) > 1e-3  # so the line above could fail


def test_byol_is_the_squared_distance_both_ways() -> None:
    q1, q2, k1, k2 = embeddings(4)
    head = CosineLoss()
    loss = head(q1, k2, 1)[0] + head(q2, k1, 0)[0]
    expected = byol64(q1, k2) + byol64(q2, k1)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    mine, theirs = gradients(loss, q1, q2), gradients(expected, q1, q2)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4, check_dtype=False)


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_simsiam_is_half_the_negative_cosine_both_ways(offset: float) -> None:
    p1, p2, z1, z2 = embeddings(4)
    head = CosineLoss(scale=0.5, offset=offset)
    (first, cosine), (second, _) = head(p1, z2, 1), head(p2, z1, 0)
    cosines = [(directions(p) * directions(z)).sum(dim=1).mean() for p, z in ((p1, z2), (p2, z1))]
    official = -0.5 * (cosines[0] + cosines[1]).item()
    assert (first + second).item() == pytest.approx(2 * offset + official, abs=1e-6)
    assert cosine.item() == pytest.approx(cosines[0].item(), abs=1e-6)


@pytest.mark.parametrize("kind", ["mocov3", "mocov2", "moby"])
def test_keys_of_a_target_are_constants(kind: str) -> None:
    queues = {"mocov2": 1, "moby": 2}
    head: nn.Module = InfoNCE(0.2)
    if kind in queues:
        head = QueueInfoNCE(CHANNELS, size=12, queues=queues[kind])
    q, k = embeddings(2)
    head(q, k)[0].backward()
    assert q.grad is not None and q.grad.abs().sum() > 0
    assert k.grad is None


def columns(queue: Tensor, start: int, number: int) -> Tensor:
    return queue[:, start : start + number].T


def test_queues_start_with_random_directions_of_length_one() -> None:
    head = QueueInfoNCE(CHANNELS, size=64)
    for queue in (head.queue_0, head.queue_1):
        torch.testing.assert_close(queue.norm(dim=0), torch.ones(64))
    assert (head.queue_0 * head.queue_1).sum(dim=0).abs().mean() < 0.6


def test_the_oldest_keys_are_replaced_and_the_pointer_wraps() -> None:
    head = QueueInfoNCE(CHANNELS, size=6, queues=1)
    pointers = []
    batches = [torch.randn(2, CHANNELS) for _ in range(4)]
    for batch in batches:
        head.update({0: batch})
        pointers.append(int(head.pointer))
    assert pointers == [2, 4, 0, 2]
    for place, batch in ((0, batches[3]), (2, batches[1]), (4, batches[2])):
        expected = directions(batch).float()
        torch.testing.assert_close(columns(head.queue_0, place, 2), expected)


def test_a_batch_as_large_as_the_queue_replaces_it() -> None:
    head, batch = QueueInfoNCE(CHANNELS, size=BATCH, queues=1), torch.randn(BATCH, CHANNELS)
    head.update({0: batch})
    assert head.pointer == 0
    torch.testing.assert_close(head.queue_0.T, directions(batch).float())


def test_each_view_fills_its_own_queue_at_one_pointer() -> None:
    head = QueueInfoNCE(CHANNELS, size=6)
    head.update({0: torch.randn(3, CHANNELS), 1: torch.randn(3, CHANNELS)})
    first, second = torch.randn(3, CHANNELS), torch.randn(3, CHANNELS)
    head.update({1: second, 0: first})  # in whatever order
    assert head.pointer == 0
    torch.testing.assert_close(columns(head.queue_0, 3, 3), directions(first).float())
    torch.testing.assert_close(columns(head.queue_1, 3, 3), directions(second).float())


def test_views_without_a_queue_leave_the_queues_alone() -> None:
    head = QueueInfoNCE(CHANNELS, size=6, queues=1, first_view=1)
    before = head.queue_0.clone()
    head.update({0: torch.randn(3, CHANNELS)})
    assert torch.equal(head.queue_0, before) and head.pointer == 0
    keys = torch.randn(3, CHANNELS)
    head.update({0: torch.randn(3, CHANNELS), 1: keys})
    assert head.pointer == 3
    torch.testing.assert_close(columns(head.queue_0, 0, 3), directions(keys).float())


def test_an_update_before_the_backward_pass_does_not_disturb_it() -> None:
    """The task updates behind its loss, and the optimizer wrapper goes backward after that."""
    q, k = embeddings(2)
    head = QueueInfoNCE(CHANNELS, size=BATCH, queues=1)
    expected = gradients(queue64(q, k, head.queue_0.clone(), 0.2), q)[0]
    loss, _ = head(q, k)
    head.update({0: k})
    torch.testing.assert_close(gradients(loss, q)[0], expected, atol=1e-6, rtol=1e-4)
    assert not head.queue_0.requires_grad


def test_queue_and_pointer_are_saved() -> None:
    head, other = QueueInfoNCE(CHANNELS, size=6), QueueInfoNCE(CHANNELS, size=6)
    head.update({0: torch.randn(2, CHANNELS), 1: torch.randn(2, CHANNELS)})
    other.load_state_dict(head.state_dict())
    q, k = embeddings(2)
    assert torch.equal(head(q, k, 1)[0], other(q, k, 1)[0]) and other.pointer == 2


@pytest.mark.parametrize("batch", [4, 6, 9])
def test_a_batch_that_does_not_divide_the_queue_goes_around_its_end(batch: int) -> None:
    head, rows = QueueInfoNCE(CHANNELS, size=6, queues=1), torch.randn(2 * batch, CHANNELS)
    for part in rows.split(batch):
        head.update({0: part})
    newest = torch.nn.functional.normalize(rows[-6:], dim=1)
    held = head.queue_0.T.roll(-int(head.pointer), dims=0)
    torch.testing.assert_close(held, newest)


@pytest.mark.parametrize(("first_view", "view"), [(0, 2), (1, 0), (1, 3)])
def test_keys_of_a_view_without_a_queue_are_refused(first_view: int, view: int) -> None:
    head = QueueInfoNCE(CHANNELS, size=6, first_view=first_view)
    with pytest.raises(ValueError, match=f"views {first_view}..{first_view + 1}, .* view {view}:"):
        head(*embeddings(2), view)


def crops(views: int, prototypes: int = 7, scale: float = 0.3) -> dict[int, Tensor]:
    return {view: scale * torch.randn(4, prototypes) for view in range(views)}


def test_dino_averages_eighteen_pairs() -> None:
    head = DINOLoss(7, student_temperature=0.1, teacher_temperature=0.07)
    head.center.normal_(std=0.1)
    student, teacher = crops(10), crops(2)
    loss, _ = head(student, teacher, 0)
    args = list(student.values()), list(teacher.values()), head.center
    expected, pairs = dino64(*args, teacher_temperature=0.07)
    assert pairs == 18
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_dino_moves_its_centre_behind_the_loss() -> None:
    head = DINOLoss(7, teacher_temperature=0.04, center_momentum=0.9)
    center = torch.zeros(1, 7, dtype=torch.float64)
    for _ in range(4):
        student, teacher = crops(4), crops(2)
        loss, _ = head(student, teacher, 0)
        args = list(student.values()), list(teacher.values()), center
        assert loss.item() == pytest.approx(dino64(*args, 0.04)[0].item(), rel=1e-5)
        head.update(teacher)
        center = 0.9 * center + 0.1 * torch.cat(list(teacher.values())).double().mean(0)
        torch.testing.assert_close(head.center.double(), center, atol=1e-7, rtol=1e-5)
    assert center.abs().max() > 1e-3


def test_dino_gradients_are_those_of_the_formula() -> None:
    head = DINOLoss(7)
    student = {view: logits.requires_grad_() for view, logits in crops(4).items()}
    teacher = crops(2)
    loss, _ = head(student, teacher, 0)
    args = list(student.values()), list(teacher.values()), head.center
    expected = gradients(dino64(*args, 0.04)[0], *args[0])
    for mine, theirs in zip(gradients(loss, *args[0]), expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("epochs", [0, 1, 2, 30])
def test_teacher_temperature_is_the_official_linspace(epochs: int) -> None:
    head = DINOLoss(7, teacher_temperature=0.07, warmup_temperature=0.04, warmup_epochs=epochs)
    schedule = np.concatenate([np.linspace(0.04, 0.07, epochs), np.full(5, 0.07)])
    found = [head.temperature_at(epoch) for epoch in range(epochs + 5)]
    np.testing.assert_allclose(found, schedule, rtol=1e-12)


def test_dino_uses_the_temperature_of_the_epoch() -> None:
    head = DINOLoss(7, teacher_temperature=0.07, warmup_temperature=0.04, warmup_epochs=4)
    student, teacher = crops(3), crops(2)
    args = list(student.values()), list(teacher.values()), head.center
    for epoch, temperature in ((0, 0.04), (1, 0.05), (3, 0.07), (9, 0.07)):
        expected, _ = dino64(*args, temperature)
        assert head(student, teacher, epoch)[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_teacher_entropy_tells_collapse_to_one_from_collapse_to_uniform() -> None:
    head, student = DINOLoss(8), crops(2, 8)
    _, uniform = head(student, {0: torch.zeros(4, 8)}, 0)
    assert uniform["teacher_entropy"].item() == pytest.approx(math.log(8), rel=1e-6)
    assert uniform["teacher_entropy_share"].item() == pytest.approx(1, rel=1e-6)
    _, one = head(student, {0: 100 * torch.eye(8)[:4]}, 0)
    assert one["teacher_entropy_share"].item() == pytest.approx(0, abs=1e-6)


def test_prototypes_are_torchs_weight_normalised_layer() -> None:
    neck = PrototypeMLP(12, 9, hidden_channels=10, bottleneck=6, fixed_lengths=False)
    nn.init.uniform_(neck.last_layer.weight_g, 0.5, 2.0)
    official = nn.utils.weight_norm(nn.Linear(6, 9, bias=False))
    official.load_state_dict(neck.last_layer.state_dict())
    features = torch.randn(4, 12)
    hidden = nn.functional.normalize(neck.mlp(features), dim=-1)
    mine, theirs = neck(features), official(hidden)
    torch.testing.assert_close(mine, theirs)
    direction = torch.randn(4, 9)
    names = ("weight_g", "weight_v")
    layers = (neck.last_layer, official)
    found, expected = (
        gradients((output * direction).sum(), *(getattr(layer, name) for name in names))
        for output, layer in zip((mine, theirs), layers, strict=True)
    )
    torch.testing.assert_close(found, expected)
    assert all(gradient.abs().sum() > 0 for gradient in found)


def test_prototypes_of_fixed_length_give_cosines() -> None:
    neck = PrototypeMLP(12, 9, hidden_channels=10, bottleneck=6)
    assert not neck.last_layer.weight_g.requires_grad
    features = torch.randn(4, 12)
    cosines = directions(neck.mlp(features)) @ directions(neck.last_layer.weight_v).T
    torch.testing.assert_close(neck(features).double(), cosines, atol=1e-6, rtol=1e-5)


def test_prototype_head_is_dinos() -> None:
    """Layers and names of the official DINOHead, and the sizes of ViT-S's and ViT-B's."""
    names = [f"mlp.{i}.{kind}" for i in (0, 2, 4) for kind in ("weight", "bias")]
    names += ["last_layer.weight_g", "last_layer.weight_v"]
    for width, size in ((384, 5_509_376), (768, 6_295_808)):
        with torch.device("meta"):
            neck = PrototypeMLP(width)
        assert [name for name, _ in neck.named_parameters()] == names
        assert [type(layer).__name__ for layer in neck.mlp] == ["Linear", "GELU"] * 2 + ["Linear"]
        assert sum(p.numel() for p in neck.mlp.parameters()) == size
        assert neck.last_layer.weight_v.numel() == 16_777_216
        assert neck.last_layer.weight_g.numel() == 65_536


def test_mlp_of_prototypes_starts_as_published() -> None:
    neck = PrototypeMLP(64, 9, hidden_channels=128, bottleneck=32)
    for layer in (neck.mlp[0], neck.mlp[2], neck.mlp[4]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert layer.bias.abs().max() == 0
    assert (neck.last_layer.weight_g == 1).all()


def layers_of(**options: Any) -> list[str]:
    """Names of the layers; + has a scale or a bias to learn, * a scale alone."""
    names = []
    for layer in ProjectionMLP(8, 16, 4, **options).layers:
        extra = layer.weight is not None if isinstance(layer, nn.BatchNorm1d) else False
        extra = layer.bias is not None if isinstance(layer, nn.Linear) else extra
        kind = "BatchNorm" if isinstance(layer, nn.BatchNorm1d) else type(layer).__name__
        scales = kind == "BatchNorm" and extra and not layer.bias.requires_grad
        names.append(kind + ("*" if scales else "+" if extra else ""))
    return names


HIDDEN = ["Linear", "BatchNorm+", "ReLU"]
PLAIN = dict(num_layers=2, bias=True, norm=False, last_norm=False)
BIASED = ["Linear+", "BatchNorm+", "ReLU"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # SimCLR v2
        (dict(last_affine=True), [*HIDDEN, *HIDDEN, "Linear", "BatchNorm*"]),
        # MoCo v2
        (PLAIN, ["Linear+", "ReLU", "Linear+"]),
        # MoBY
        (dict(num_layers=2, bias=True, last_norm=False), [*BIASED, "Linear+"]),
        # BYOL
        (dict(num_layers=2, bias=True, last_bias=False, last_norm=False), [*BIASED, "Linear"]),
        # SimSiam: projector, predictor
        (dict(), [*HIDDEN, *HIDDEN, "Linear", "BatchNorm"]),
        (dict(num_layers=2, last_bias=True, last_norm=False), [*HIDDEN, "Linear+"]),
    ],
)  # fmt: skip
def test_projection_options_make_the_published_heads(
    options: dict[str, Any], expected: list[str]
) -> None:
    assert layers_of(**options) == expected


@pytest.mark.parametrize(
    ("width", "parameters"), [(384, 2_633_984), (768, 4_206_848), (256, 2_109_696)]
)
def test_mobys_heads_have_the_published_sizes(width: int, parameters: int) -> None:
    head = ProjectionMLP(width, num_layers=2, bias=True, last_norm=False)
    assert sum(p.numel() for p in head.parameters()) == parameters


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: InfoNCE(0.0), "InfoNCE.temperature must be positive, not 0.0"),
        (lambda: NTXent(-1.0), "NTXent.temperature must be positive"),
        (lambda: QueueInfoNCE(temperature=0.0), "QueueInfoNCE.temperature must be positive"),
        (lambda: QueueInfoNCE(queues=0), "needs queues and a size: 0, 4096"),
        (lambda: QueueInfoNCE(size=0), "needs queues and a size: 2, 0"),
        (lambda: DINOLoss(4, student_temperature=0), "student_temperature=0 must be above 0"),
        (lambda: DINOLoss(4, teacher_temperature=0), "teacher_temperature=0 must be above 0"),
        (lambda: DINOLoss(4, warmup_temperature=0), "warmup_temperature=0 must be above 0"),
        (lambda: DINOLoss(4, center_momentum=1.1), "center_momentum=1.1 must lie in"),
        (lambda: PrototypeMLP(4, num_layers=0), "PrototypeMLP.num_layers must be at least 1"),
        (lambda: ProjectionMLP(4, num_layers=0), "ProjectionMLP.num_layers must be at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    build: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build()
