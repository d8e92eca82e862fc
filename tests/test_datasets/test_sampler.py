"""Order, keys and dealing out to processes."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvitssl.datasets import EpochSampler, SampleKey


def sampler(size: int, **changes: object) -> EpochSampler:
    return EpochSampler(range(size), **{"seed": 0, "rank": 0, "world_size": 1, **changes})


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 40), world=st.integers(1, 5), batch=st.integers(1, 4))
def test_processes_together_take_the_batches_of_one(size: int, world: int, batch: int) -> None:
    parts = [list(sampler(size, rank=rank, world_size=world)) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    whole = list(sampler(size))
    steps = len(whole) // (world * batch)
    for step in range(steps):
        together = {key for part in parts for key in part[step * batch : (step + 1) * batch]}
        assert together == set(whole[step * world * batch : (step + 1) * world * batch])
    assert {key.index for part in parts for key in part} == set(range(size))


def test_every_process_reads_its_own_without_rounding_up() -> None:
    parts = [
        [key.index for key in sampler(7, shuffle=False, round_up=False, rank=r, world_size=2)]
        for r in range(2)
    ]
    assert parts == [[0, 2, 4, 6], [1, 3, 5]]
    assert len(sampler(7, round_up=False, rank=1, world_size=2)) == 3


def test_epochs_differ_and_can_be_taken_up_again() -> None:
    one = sampler(20)
    first = list(one)
    one.set_epoch(3)
    third = list(one)
    assert [key.index for key in first] != [key.index for key in third]
    again = sampler(20)
    again.set_epoch(3)
    assert list(again) == third and all(key.epoch == 3 for key in third)
    assert list(sampler(20, seed=1)) != first


def test_infinite_goes_on_with_the_next_epoch() -> None:
    keys = list(islice(iter(sampler(4, infinite=True)), 10))
    assert [key.epoch for key in keys] == [0] * 4 + [1] * 4 + [2] * 2


def test_keys_make_generators_of_their_own() -> None:
    def draw(key: SampleKey, *extra: int) -> float:
        return key.generator(*extra).random()

    base = SampleKey(1, 2, 3)
    assert draw(base, 0) == draw(SampleKey(1, 2, 3), 0)
    others = [draw(base, 1), draw(SampleKey(0, 2, 3), 0), draw(SampleKey(1, 0, 3), 0)]
    assert len({draw(base, 0), *others}) == 4


def test_mmengine_builds_it_with_dataset_and_seed() -> None:
    from mmengine.registry import DATA_SAMPLERS

    built = DATA_SAMPLERS.build(
        dict(type="mmvitssl.EpochSampler"), default_args=dict(dataset=range(3), seed=7)
    )
    assert built.seed == 7 and len(built) == 3


@pytest.mark.parametrize("size", [1, 5])
def test_round_up_repeats_small_data_sets(size: int) -> None:
    assert len(list(sampler(size, rank=2, world_size=4))) == len(sampler(size, world_size=4))


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 40), world=st.integers(1, 4), repeats=st.integers(1, 4))
def test_repeated_augmentation(size: int, world: int, repeats: int) -> None:
    """An epoch is as long, each sample is drawn so many times, and each drawing differs."""
    parts = [
        list(sampler(size, repeats=repeats, rank=rank, world_size=world)) for rank in range(world)
    ]
    assert {len(part) for part in parts} == {len(sampler(size, world_size=world))}
    together = [key for keys in zip(*parts, strict=True) for key in keys][:size]
    assert len({(key.index, key.repeat) for key in together}) == size
    for start in range(0, size, repeats):
        drawings = together[start : start + repeats]
        assert len({key.index for key in drawings}) == 1
        assert [key.repeat for key in drawings] == list(range(len(drawings)))
        assert len({key.generator().random() for key in drawings}) == len(drawings)


def test_no_repeats_are_refused() -> None:
    with pytest.raises(ValueError, match="repeats=0"):
        sampler(3, repeats=0)
