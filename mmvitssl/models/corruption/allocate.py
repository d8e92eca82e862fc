"""Disjoint random patches for the tasks of a view (Multi-task ViT, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmvitssl.models.sizes import share_of
from mmvitssl.randomness import Draws, integers, uniform

# offsets of the second patch of a pair, in raster order without the middle: the eight classes
NEIGHBOURS = tuple((r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0))


@dataclass(frozen=True)
class Need:
    """Patches that a task wants of every image of a view.

    Attributes:
        singles: single patches; a share of all patches where it is a float.
        pairs: pairs of patches that lie ``distance`` apart in one of eight directions; a number of
            pairs per patch of the view where it is a float.
        distance: rows and columns between the patches of a pair; 1 are neighbours.
    """

    singles: Any = 0
    pairs: Any = 0
    distance: int = 1

    @property
    def total(self) -> Any:
        """Patches in all."""
        return self.singles + 2 * self.pairs

    def on(self, grid: tuple[int, int], least: int = 1) -> Need:
        """In numbers of patches of a grid; of a share that is asked for, at least ``least``."""
        total = grid[0] * grid[1]
        return Need(
            share_of(self.singles, total, least), share_of(self.pairs, total, least), self.distance
        )


@dataclass(frozen=True, eq=False)
class Assigned:
    """Patches that a task was given, no other task of the view has one of them.

    Attributes:
        singles: (B, n) long.
        pairs: (B, p, 2) long, first the anchor.
        classes: (B, p) long, direction from the anchor to the other: an entry of NEIGHBOURS.
        surroundings: (B, p, 9) long, the anchor and all eight places where the other could lie.
    """

    singles: Tensor
    pairs: Tensor
    classes: Tensor
    surroundings: Tensor

    @property
    def patches(self) -> Tensor:
        """(B, n + 2 p) long, all of them."""
        return torch.cat([self.singles, self.pairs.flatten(1)], dim=1)

    @property
    def unplaced(self) -> Tensor:
        """(B, n + 9 p) long, what has no position where a task hides positions.

        Around an anchor no place has one: if only the two patches of a pair had none, the places
        that are missing would lie on the line that is asked for.
        """
        return torch.cat([self.singles, self.surroundings.flatten(1)], dim=1)

    def to(self, device: torch.device) -> Assigned:
        """On ``device``."""
        tensors = (self.singles, self.pairs, self.classes, self.surroundings)
        return Assigned(*(tensor.to(device, non_blocking=True) for tensor in tensors))


def check_needs(needs: Mapping[str, Need], grid: tuple[int, int]) -> None:
    """Raise ValueError, with the sum, if tasks want more patches than there are."""
    wanted = sum(need.total for need in needs.values())
    if wanted > grid[0] * grid[1]:
        parts = " + ".join(f"{need.total} ({name})" for name, need in needs.items())
        raise ValueError(
            f"The tasks alter {parts} = {wanted} patches, but a view has {grid[0]} x {grid[1]} = "
            f"{grid[0] * grid[1]}: lower their numbers."
        )
    distances = {need.distance for need in needs.values() if need.pairs}
    if len(distances) > 1:
        raise ValueError(f"Tasks of one view want pairs at the distances {distances}: use one.")
    pairs = sum(need.pairs for need in needs.values())
    if pairs:
        side = 2 * distances.pop() + 1
        cells = (grid[0] // side) * (grid[1] // side)
        if pairs > cells:
            raise ValueError(
                f"The tasks want {pairs} pairs, but a grid of {grid[0]} x {grid[1]} holds {cells} "
                f"cells of {side} x {side} patches, one for each pair: lower their numbers."
            )


def draw_pairs(
    number: int, distance: int, grid: tuple[int, int], batch: int, generator: Draws
) -> tuple[Tensor, Tensor, Tensor]:
    """Disjoint pairs: the grid is cut into square cells at a random offset, a pair in a cell.

    The anchor is the middle of its cell and the other patch lies in one of eight directions,
    uniformly, so that no direction is rarer at borders.

    Returns:
        (B, p, 2) patches, (B, p) directions and (B, p, 9) the anchor with all its neighbours.
    """
    side = 2 * distance + 1
    rows, columns = grid[0] // side, grid[1] // side
    chosen = uniform(generator, batch, rows * columns).argsort(dim=1)[:, :number]
    free = torch.tensor([grid[0] % side + 1, grid[1] % side + 1])
    offset = (uniform(generator, batch, 1, 2) * free).long()
    corner = torch.stack([chosen // columns, chosen % columns], dim=-1) * side + offset
    anchor = corner + distance
    classes = integers(generator, 0, len(NEIGHBOURS), batch, number)
    offsets = torch.tensor([(0, 0), *NEIGHBOURS]) * distance
    places = anchor[:, :, None] + offsets  # B, p, 9, 2
    around = places[..., 0] * grid[1] + places[..., 1]
    other = around.gather(2, classes[..., None] + 1)
    return torch.cat([around[..., :1], other], dim=2), classes, around


def allocate(
    needs: Mapping[str, Need], grid: tuple[int, int], batch: int, generator: Draws
) -> dict[str, Assigned]:
    """Give every task its own random patches of each image.

    Raises:
        ValueError: more patches or pairs are wanted than there are.
    """
    check_needs(needs, grid)
    total_pairs = sum(need.pairs for need in needs.values())
    distance = max((need.distance for need in needs.values() if need.pairs), default=1)
    pairs, classes, around = draw_pairs(total_pairs, distance, grid, batch, generator)
    scores = uniform(generator, batch, grid[0] * grid[1])
    scores = scores.scatter(1, pairs.flatten(1), 2.0)  # last, behind all that are free
    order = scores.argsort(dim=1)
    given: dict[str, Assigned] = {}
    single = pair = 0
    for name, need in needs.items():
        given[name] = Assigned(
            singles=order[:, single : single + need.singles],
            pairs=pairs[:, pair : pair + need.pairs],
            classes=classes[:, pair : pair + need.pairs],
            surroundings=around[:, pair : pair + need.pairs],
        )
        single, pair = single + need.singles, pair + need.pairs
    return given
