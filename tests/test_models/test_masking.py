"""Maskers: how much they mask, where, and that they can be repeated."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvitssl.models.masking import BlockMasking, RandomMasking, WindowMasking
from mmvitssl.models.masking.block import Rectangles
from mmvitssl.registry import MODELS
from mmvitssl.structures import MaskedPatches, TokenPlan


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def as_mask(plan: TokenPlan, patches: int) -> torch.Tensor:
    """(B, N) bool of a plan without windows."""
    if plan.dropped is None:
        assert plan.masked is not None
        return plan.masked
    return torch.zeros(len(plan.dropped), patches, dtype=torch.bool).scatter_(1, plan.dropped, True)


@given(
    rows=st.integers(2, 12),
    columns=st.integers(2, 12),
    ratio=st.floats(0.05, 0.95),
    mode=st.sampled_from(["drop", "replace"]),
)
@settings(max_examples=60, deadline=None)
def test_random_masking_keeps_the_stated_share(
    rows: int, columns: int, ratio: float, mode: str
) -> None:
    keep = int(rows * columns * (1 - ratio))
    masking = RandomMasking(ratio, mode)
    if keep == 0:
        with pytest.raises(ValueError, match="at least one must stay"):
            masking((rows, columns), 3, seeded())
        return
    plan = masking((rows, columns), 3, seeded())
    plan.validate(3, (rows, columns))
    mask = as_mask(plan, rows * columns)
    assert (~mask).sum(dim=1).tolist() == [keep] * 3
    if mode == "drop":
        assert plan.tokens is not None and plan.dropped is not None
        every = torch.cat([plan.tokens, plan.dropped], dim=1).sort(dim=1).values
        assert torch.equal(every, torch.arange(rows * columns).expand(3, -1))


def test_published_numbers_of_masked_patches() -> None:
    mae = RandomMasking(0.75)((14, 14), 2, seeded())
    assert mae.tokens is not None and mae.tokens.shape == (2, 49)
    simmim = RandomMasking(0.6, "replace", unit=2)((14, 14), 2, seeded())
    assert simmim.masked is not None and simmim.masked.sum(dim=1).tolist() == [120, 120]
    lomar = WindowMasking(7, 4, 0.8)((14, 14), 2, seeded())
    assert lomar.masked is not None and lomar.masked.sum(dim=1).tolist() == [39] * 8
    assert lomar.num_visible == 10
    cae = BlockMasking(98, exact=True, mode="drop")((14, 14), 16, seeded())
    assert cae.dropped is not None and cae.dropped.shape == (16, 98)


def test_random_masking_is_uniform_over_patches() -> None:
    mask = as_mask(RandomMasking(0.75)((4, 6), 8000, seeded()), 24).float()
    assert mask.mean(dim=0).numpy() == pytest.approx(0.75, abs=0.025)


def test_squares_are_masked_together() -> None:
    plan = RandomMasking(0.5, "replace", unit=2)((4, 6), 50, seeded())
    assert plan.masked is not None
    squares = plan.masked.view(50, 2, 2, 3, 2).transpose(2, 3).flatten(3)
    assert bool((squares == squares[..., :1]).all())


def test_block_masking_has_the_published_distribution() -> None:
    # mean 74.5, least 66, 75 exactly in 68 % of draws: simulations of the official code
    plan = BlockMasking(75)((14, 14), 6000, seeded())
    assert plan.masked is not None
    counts = plan.masked.sum(dim=1)
    assert counts.float().mean().item() == pytest.approx(74.5, abs=0.15)
    assert (counts == 75).float().mean().item() == pytest.approx(0.68, abs=0.04)
    assert counts.max() == 75 and counts.min() >= 60
    assert plan.num_visible is None  # it differs between images


def test_exact_block_masking_never_misses() -> None:
    plan = BlockMasking(98, exact=True)((14, 14), 500, seeded(3))
    assert plan.masked is not None and plan.num_visible == 98
    assert bool((plan.masked.sum(dim=1) == 98).all())


def test_block_masks_are_blocks_and_random_ones_are_not() -> None:
    def masked_neighbours(mask: torch.Tensor) -> float:
        """How often the right neighbour of a masked patch is masked too."""
        grid = mask.view(-1, 14, 14)
        return (grid[:, :, 1:] & grid[:, :, :-1]).sum().item() / grid[:, :, :-1].sum().item()

    block = BlockMasking(75, exact=True)((14, 14), 400, seeded())
    random = RandomMasking(75 / 196, "replace")((14, 14), 400, seeded())
    assert block.masked is not None and random.masked is not None
    assert masked_neighbours(block.masked) > 0.7
    assert masked_neighbours(random.masked) == pytest.approx(75 / 196, abs=0.03)


def test_block_sizes_and_aspects() -> None:
    height, width = Rectangles(16).draw_sizes(torch.full((20000,), 75), seeded())
    area, aspect = (height * width).float(), (height / width).log()
    # uniform between 16 and 75, up to the rounding of the sides
    assert area.mean().item() == pytest.approx((16 + 75) / 2, rel=0.03)
    assert area.min() >= 9 and area.max() <= 95
    assert aspect.mean().item() == pytest.approx(0.0, abs=0.02)
    assert aspect.abs().max().exp().item() < 1 / 0.3 * 1.35


def test_every_patch_can_be_masked_by_blocks() -> None:
    plan = BlockMasking(75)((14, 14), 3000, seeded())
    assert plan.masked is not None
    share = plan.masked.float().mean(dim=0).view(14, 14)
    assert share.min() > 0.02  # corners are the rarest
    # no direction is preferred
    assert share.numpy() == pytest.approx(share.flip(0).numpy(), abs=0.05)
    assert share.numpy() == pytest.approx(share.flip(1).numpy(), abs=0.05)
    assert share.numpy() == pytest.approx(share.T.numpy(), abs=0.05)


def test_blocks_that_cannot_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match="lower min_block"):
        BlockMasking(15, exact=True, min_block=14)((4, 4), 1, seeded())
    with pytest.raises(ValueError, match="masks 16 patches .* and one stay"):
        BlockMasking(16)((4, 4), 1, seeded())


@given(
    rows=st.integers(3, 15),
    columns=st.integers(3, 15),
    height=st.integers(1, 7),
    width=st.integers(2, 7),
    views=st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_windows_are_raster_crops(
    rows: int, columns: int, height: int, width: int, views: int
) -> None:
    masking = WindowMasking((height, width), views, 0.5)
    height, width = min(height, rows), min(width, columns)  # no larger than the grid
    if height * width < 2:
        with pytest.raises(ValueError, match="at least one must be masked and one stay"):
            masking((rows, columns), 3, seeded())
        return
    plan = masking((rows, columns), 3, seeded())
    plan.validate(3, (rows, columns))
    assert plan.tokens is not None and plan.window == (height, width)
    places = torch.stack([plan.tokens // columns, plan.tokens % columns], dim=-1)
    inside = places - places[:, :1]
    expected = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    assert torch.equal(inside, expected.expand(len(inside), -1, -1))
    assert plan.image_index is not None
    assert plan.image_index.tolist() == [image for image in range(3) for _ in range(views)]


def test_window_corners_are_uniform_and_drawn_for_each_image() -> None:
    corners = WindowMasking(7, 4).corners((14, 18), 6000, seeded())
    for axis, places in ((0, 8), (1, 12)):
        share = (
            torch.bincount(corners[..., axis].flatten(), minlength=places) / corners[..., 0].numel()
        )
        assert share.numpy() == pytest.approx(1 / places, rel=0.1)
        ordered = corners[..., axis].sort(dim=1).values
        assert bool((ordered[:, 1:] > ordered[:, :-1]).all())  # without replacement on an axis
    assert len({tuple(row.flatten().tolist()) for row in corners[:50]}) == 50


def test_more_windows_than_places_on_an_axis() -> None:
    corners = WindowMasking(7, 4).corners((7, 14), 10, seeded())
    assert bool((corners[..., 0] == 0).all()) and corners[..., 1].unique().numel() > 4


def test_masks_inside_windows_are_uniform_and_differ() -> None:
    plan = WindowMasking(5, 2, 0.8)((9, 9), 3000, seeded())
    assert plan.masked is not None
    assert plan.masked.float().mean(dim=0).numpy() == pytest.approx(0.8, abs=0.03)
    assert len({tuple(row.tolist()) for row in plan.masked[:20]}) > 15


def test_published_pairing_shows_an_image_one_place_several_times() -> None:
    plan = WindowMasking(7, 4, pairing="published")((14, 14), 8, seeded())
    assert plan.tokens is not None and plan.image_index is not None and plan.masked is not None
    first = plan.tokens[:, 0]
    for image in range(8):
        rows = (plan.image_index == image).nonzero().flatten()
        assert len(rows) == 4 and first[rows].unique().numel() == 1
        assert len({tuple(row.tolist()) for row in plan.masked[rows]}) > 1
    coprime = WindowMasking(7, 4, pairing="published")((14, 14), 7, seeded())
    assert coprime.tokens is not None and coprime.image_index is not None
    rows = (coprime.image_index == 0).nonzero().flatten()
    assert coprime.tokens[rows, 0].unique().numel() == 4


@pytest.mark.parametrize(
    "config",
    [
        dict(type="RandomMasking"),
        dict(type="BlockMasking"),
        dict(type="BlockMasking", exact=True, mode="drop"),
        dict(type="WindowMasking"),
    ],
)
def test_masks_depend_on_the_generator_alone(config: dict[str, Any]) -> None:
    masking = MODELS.build(config)
    first, again, other = (masking((14, 14), 4, seeded(seed)) for seed in (1, 1, 2))
    for name in ("tokens", "masked", "dropped"):
        tensor = getattr(first, name)
        if tensor is not None:
            assert torch.equal(tensor, getattr(again, name))
    differ = [
        not torch.equal(getattr(first, name), getattr(other, name))
        for name in ("tokens", "masked", "dropped")
        if getattr(first, name) is not None
    ]
    assert any(differ)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(type="RandomMasking", ratio=1.0), "between 0 and 1"),
        (dict(type="RandomMasking", mode="hide"), "use one of"),
        (dict(type="RandomMasking", mask_at=2), "mask_at needs"),
        (dict(type="BlockMasking", mode="drop"), "exact=True"),
        (dict(type="BlockMasking", mask_at=2), "exact=True"),
        (dict(type="BlockMasking", num_masked=0), "num_masked >= 1"),
        (dict(type="WindowMasking", pairing="other"), "use one of"),
        (dict(type="WindowMasking", window=1), "at least one must be masked"),
        (dict(type="WindowMasking", views=0), "views >= 1"),
    ],
)
def test_options_that_make_no_sense(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


def test_a_unit_that_does_not_divide_the_grid_is_cut_where_numbers_may_differ() -> None:
    with pytest.raises(ValueError, match="does not divide the grid"):
        RandomMasking(0.5, unit=2)((5, 4), 1, seeded())
    masked = RandomMasking(0.5, mode="replace", unit=2)((5, 4), 64, seeded()).masked
    assert masked is not None and set(masked.sum(dim=1).tolist()) > {10}
    last = masked.view(64, 5, 4)[:, 4]  # of cut squares: 1 x 2
    assert torch.equal(last[:, 0], last[:, 1]) and torch.equal(last[:, 2], last[:, 3])


def test_masked_patches_name_image_patch_and_slot() -> None:
    plan = WindowMasking((2, 3), 2, 0.5)((4, 5), 2, seeded())
    masked = MaskedPatches.of(plan)
    assert plan.tokens is not None and plan.masked is not None and plan.image_index is not None
    assert masked.slot is not None and masked.rows == 4
    assert torch.equal(plan.tokens.flatten()[masked.slot], masked.patch)
    assert torch.equal(plan.image_index[masked.slot // 6], masked.image)
    assert bool(plan.masked.flatten()[masked.slot].all()) and len(masked.slot) == plan.masked.sum()
    dropped = RandomMasking(0.5)((2, 3), 2, seeded())
    entries = MaskedPatches.of(dropped)
    assert dropped.dropped is not None and entries.slot is None
    assert torch.equal(entries.patch.view(2, 3), dropped.dropped)
    assert entries.image.tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(ValueError, match="neither masked nor dropped"):
        MaskedPatches.of(TokenPlan())
