"""Disjoint patches for many tasks, and what can happen to a patch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvitssl.models.corruption import Need, allocate, blocks, fills
from mmvitssl.models.corruption.allocate import NEIGHBOURS
from mmvitssl.models.corruption.harmonise import put, take


@given(
    rows=st.integers(3, 14),
    columns=st.integers(3, 14),
    singles=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    pairs=st.lists(st.integers(1, 4), min_size=0, max_size=2),
    distance=st.integers(1, 2),
)
@settings(max_examples=80, deadline=None)
def test_patches_of_tasks_are_disjoint(
    rows: int, columns: int, singles: list[int], pairs: list[int], distance: int
) -> None:
    grid = (rows, columns)
    needs = {f"single {i}": Need(singles=n) for i, n in enumerate(singles)}
    needs |= {f"pair {i}": Need(pairs=n, distance=distance) for i, n in enumerate(pairs)}
    side = 2 * distance + 1
    fits = sum(need.total for need in needs.values()) <= rows * columns
    fits &= sum(pairs) <= (rows // side) * (columns // side) or not pairs
    generator = torch.Generator().manual_seed(0)
    if not fits:
        with pytest.raises(ValueError, match="lower their numbers"):
            allocate(needs, grid, 2, generator)
        return
    drawn = allocate(needs, grid, 2, generator)
    for image in range(2):
        every = torch.cat([assigned.patches[image] for assigned in drawn.values()])
        assert len(every.unique()) == len(every) == sum(need.total for need in needs.values())
        assert every.min() >= 0 and every.max() < rows * columns
    for assigned in drawn.values():
        first, second = assigned.pairs.unbind(-1)
        down = (second // columns - first // columns) // distance
        right = (second % columns - first % columns) // distance
        offsets = torch.tensor(NEIGHBOURS)[assigned.classes]
        assert torch.equal(torch.stack([down, right], dim=-1), offsets)


def test_the_sum_of_the_patches_is_shown() -> None:
    needs = {"colour": Need(singles=40), "place": Need(pairs=2), "paint": Need(singles=10)}
    with pytest.raises(ValueError, match=r"40 \(colour\) \+ 4 \(place\) \+ 10 \(paint\) = 54"):
        allocate(needs, (6, 8), 1, torch.Generator())


def test_directions_are_uniform_and_patches_everywhere() -> None:
    drawn = allocate({"p": Need(pairs=2), "s": Need(singles=4)}, (7, 8), 8000, torch.Generator())
    share = torch.bincount(drawn["p"].classes.flatten(), minlength=8) / 16000
    assert share.numpy() == pytest.approx(1 / 8, abs=0.01)
    assert len(drawn["s"].singles.unique()) == 56 == len(drawn["p"].pairs.unique())


def test_fills_are_what_they_say() -> None:
    pixels, generator = torch.rand(3, 4, 8, 8, 3), torch.Generator().manual_seed(0)
    assert torch.allclose(fills.grey(pixels)[..., 0], fills.grey(pixels)[..., 2])
    blurred = fills.blur(pixels)
    assert blurred.std() < 0.5 * pixels.std()
    flat = torch.full((1, 1, 8, 8, 3), 0.3)
    assert torch.allclose(fills.blur(flat), flat)
    moved = fills.other(pixels, generator)
    assert all(any(torch.equal(moved[i], pixels[j]) for j in range(3) if j != i) for i in range(3))
    assert torch.equal(fills.other(pixels[:1], generator), pixels[:1])
    mean, std = torch.full((3,), 0.4), torch.full((3,), 0.2)
    drawn = fills.noise(torch.zeros(20, 20, 8, 8, 3), mean, std, generator)
    assert drawn.mean() == pytest.approx(0.4, abs=0.01) and drawn.std() == pytest.approx(0.2, 0.02)
    same = fills.crop_and_jitter(pixels, 1.0, 0.0, generator)
    assert torch.allclose(same, pixels, atol=1e-5)
    assert not torch.allclose(fills.crop_and_jitter(pixels, 0.6, 0.2, generator), pixels)


def test_put_and_take_are_inverse() -> None:
    images, patches = torch.rand(2, 3, 48, 64), torch.tensor([[0, 9, 47], [3, 2, 1]])
    contents = torch.rand(2, 3, 8, 8, 3)
    changed = put(images, 8, patches, contents)
    assert torch.equal(take(changed, 8, patches), contents)
    assert torch.equal(put(changed, 8, patches, take(images, 8, patches)), images)


def test_places_without_position_do_not_tell_the_direction() -> None:
    """Of the anchor and all that could be asked for: the same for every direction."""
    shown: dict[tuple[int, ...], set[int]] = {}
    drawn = allocate({"p": Need(pairs=1, distance=2)}, (5, 6), 400, torch.Generator())["p"]
    for places, pair, direction in zip(
        drawn.unplaced.sort(dim=1).values, drawn.pairs[:, 0], drawn.classes[:, 0], strict=True
    ):
        assert set(pair.tolist()) <= set(places.tolist()) and len(places.unique()) == 9
        shown.setdefault(tuple(places.tolist()), set()).add(int(direction))
    assert len(shown) == 2 and all(len(directions) == 8 for directions in shown.values())


def changed(modes: tuple[str, ...], images: torch.Tensor) -> torch.Tensor:
    """(B, H, W) bool, pixels that blocks of these corruptions alter."""
    draw, noise = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    return (blocks.distort(images, modes, draw, noise) != images).any(dim=1)


@pytest.mark.parametrize(
    ("modes", "covered"),
    [(("grey",), 0.14), (("blur",), 0.14), (("noise",), 0.15), (("noise", "other"), 0.28)],
)
def test_blocks_cover_what_those_of_the_first_code_of_sit_cover(
    modes: tuple[str, ...], covered: float
) -> None:
    images = torch.randn(600, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    area = changed(modes, images).float().mean().item()
    assert area == pytest.approx(covered, abs=0.02)


def test_a_block_is_blurred_apart_from_what_surrounds_it() -> None:
    images = torch.randn(12, 3, 48, 56, generator=torch.Generator().manual_seed(2))
    draw = torch.Generator().manual_seed(3)
    weights = blocks._weights(12, draw)
    block = blocks._Blocks(images, 1, 1.0, draw)
    blurred = blocks.distort(images, ("blur",), torch.Generator().manual_seed(3), draw)
    for i, kernel in enumerate(weights):
        (top, bottom), (left, right) = block.rows[:, i, 0].tolist(), block.columns[:, i, 0].tolist()
        expected = images[i].clone()
        if min(bottom - top, right - left) > blocks.REACH:
            part = images[i : i + 1, :, top:bottom, left:right]
            padded = torch.nn.functional.pad(part, [blocks.REACH] * 4, mode="reflect")
            across = (kernel[:, None] * kernel).expand(3, 1, -1, -1)
            part = torch.nn.functional.conv2d(padded, across, groups=3)
            expected[:, top:bottom, left:right] = part[0]
            torch.testing.assert_close(blurred[i], expected, atol=1e-5, rtol=1e-5)


def test_blocks_of_another_image_come_from_the_same_place() -> None:
    images = torch.arange(6.0)[:, None, None, None].expand(6, 3, 32, 32)
    draw, noise = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    altered = blocks.distort(images, ("other",), draw, noise)
    assert set(altered.unique().tolist()) <= set(range(6)) and not torch.equal(altered, images)
