"""Random numbers of samples: uniform, independent, and the same in any batch."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from mmvitssl.models.masking import (
    BlockMasking,
    MixedRatioMasking,
    MultiBlockMasking,
    RandomMasking,
    WindowMasking,
)
from mmvitssl.models.stochastic_depth import (
    DropPath,
    dropped,
    number_layers,
    recomputed,
    rows_drawn,
)
from mmvitssl.randomness import SampleDraws, _mixed
from mmvitssl.registry import MODELS


def samples(first: int, last: int, epoch: int = 0) -> dict[str, Tensor]:
    index = torch.arange(first, last)
    return {"index": index, "epoch": torch.full_like(index, epoch)}


def test_splitmix64_is_the_published_one() -> None:
    """The first outputs of the reference implementation for the state 1234567."""
    published = (6457827717110365317, 3203168211198807973, 9817491932198370423)
    state, found = 1234567, []
    for _ in published:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        signed = torch.tensor(state - 2**64 if state >= 2**63 else state)
        found.append(int(_mixed(signed)) % 2**64)
    assert tuple(found) == published


def test_repeated_draws_are_those_of_rows() -> None:
    draws, rows = SampleDraws.of(3, samples(0, 5)), torch.arange(5).repeat(3)
    assert torch.equal(draws.repeated(3).keys, draws.rows(rows).keys)


def test_numbers_are_uniform_normal_and_independent() -> None:
    draws = SampleDraws.of(3, samples(0, 200), "task")
    first, second = draws.uniform(200, 50), draws.uniform(200, 50)
    assert stats.kstest(first.flatten(), "uniform").pvalue > 1e-3
    pairs = ((first, second), (first[:-1], first[1:]), (first[:, :-1], first[:, 1:]))
    for one, other in pairs:
        both = torch.stack([one.flatten(), other.flatten()])
        assert abs(float(torch.corrcoef(both)[0, 1])) < 0.04
    assert stats.kstest(draws.normal(200, 50).flatten(), "norm").pvalue > 1e-3
    counts = draws.integers(2, 6, 200, 50).flatten().bincount()[2:]
    assert len(counts) == 4 and stats.chisquare(counts).pvalue > 1e-3
    others = [
        SampleDraws.of(4, samples(0, 200), "task"), SampleDraws.of(3, samples(0, 200), "other"),
        SampleDraws.of(3, samples(0, 200, epoch=1), "task"),
        # a later drawing of the same images, by a sampler that repeats them
        SampleDraws.of(3, {**samples(0, 200), "seed": torch.full((200,), 7)}, "task"),
    ]  # fmt: skip
    assert all((other.uniform(200, 50) != first).float().mean() > 0.99 for other in others)


MASKINGS = {
    "random": RandomMasking(0.75),
    "beit": BlockMasking(20),
    "cae": BlockMasking(20, exact=True, mode="drop", min_block=2),
    "lomar": WindowMasking(3, 2, 0.6),
    "ibot": MixedRatioMasking(),
    "ibot, single patches": MixedRatioMasking(shape="random"),
    "ijepa": MultiBlockMasking(min_keep=3, contexts=2),
}


@pytest.mark.parametrize("name", MASKINGS)
def test_masks_of_a_sample_do_not_depend_on_the_batch(name: str) -> None:
    """Contexts of I-JEPA are cut to the smallest of the batch; what is left is the same."""

    def rows(first: int, last: int) -> list[list[list[int]]]:
        draws = SampleDraws.of(0, samples(first, last), "task", iteration=5)
        plan = MASKINGS[name]((8, 8), last - first, draws)  # type: ignore[operator]
        index = torch.arange(last - first) if plan.image_index is None else plan.image_index
        order = index.argsort(stable=True)  # by image
        found = [plan.tokens, plan.masked, plan.dropped]
        return [part[order].unflatten(0, (last - first, -1)).tolist()
                for part in found if part is not None]  # fmt: skip

    whole = rows(0, 12)
    for first, last in ((0, 4), (4, 12), (11, 12)):
        for part, all_of_them in zip(rows(first, last), whole, strict=True):
            for mine, theirs in zip(part, all_of_them[first:last], strict=True):
                for one, other in zip(mine, theirs, strict=True):
                    common = min(len(one), len(other))
                    assert one[:common] == other[:common] and common > 3


def test_rows_of_a_sample_draw_numbers_of_their_own_in_any_order() -> None:
    draws = SampleDraws.of(0, samples(0, 3))
    twice = draws.rows(torch.tensor([0, 1, 2, 0, 1, 2])).uniform(6)
    grouped = draws.rows(torch.tensor([0, 0, 1, 1, 2, 2])).uniform(6)
    assert len(twice.unique()) == 6 and torch.equal(twice.view(2, 3).t().flatten(), grouped)


def test_draws_for_a_batch_are_those_of_the_iteration() -> None:
    first, other, later = (
        SampleDraws.of(0, samples(begin, begin + 2), "task", iteration=iteration).for_batch()
        for begin, iteration in ((0, 7), (40, 7), (0, 8))
    )
    values = first.uniform(1, 4)
    assert torch.equal(values, other.uniform(1, 4)) and not values.equal(later.uniform(1, 4))


def test_stochastic_depth_drops_what_rows_have_drawn() -> None:
    model = nn.Sequential(DropPath(0.25), DropPath(0.0), DropPath(0.5))
    assert number_layers(model) == 3 and number_layers(nn.Sequential(DropPath(0.0))) == 0
    drawn = torch.rand(3, 4000)
    x = torch.ones(4000, 2, requires_grad=True)
    with rows_drawn(drawn):
        out, again = model(x), recomputed(model, x)
    kept = (drawn[0] >= 0.25) & (drawn[2] >= 0.5)
    assert torch.equal(out[:, 0], kept / (0.75 * 0.5)) and torch.equal(out, again)
    # gradients are computed after the draws are gone
    assert torch.equal(torch.autograd.grad(again.sum(), x)[0][:, 0], kept / (0.75 * 0.5))
    with rows_drawn(drawn):  # several batches as one pass
        parts = dropped(model[0], x.split([1000, 3000]))
    assert torch.equal(torch.cat(parts)[:, 0], (drawn[0] >= 0.25) / 0.75)
    assert torch.equal(model.eval()(x), x)


def test_stochastic_depth_of_timms_models_is_drawn_per_sample() -> None:
    backbone = MODELS.build(
        dict(type="TimmBackbone", model="convnext_atto", image_size=32, drop_path=0.9,
             model_args=dict(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)))
    )  # fmt: skip
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, std=0.3)  # of layer scales too, which begin near zero
    images, layers = torch.randn(8, 3, 32, 32), number_layers(backbone)
    assert layers == 3  # the first has the rate 0
    drawn = torch.rand(layers, 8)
    with rows_drawn(drawn):
        whole = backbone.train()(images).cls
    with rows_drawn(drawn[:, 5:]):
        part = backbone(images[5:]).cls
    torch.testing.assert_close(part, whole[5:])
    with rows_drawn(1 - drawn[:, 5:]):
        assert not backbone(images[5:]).cls.allclose(part)
