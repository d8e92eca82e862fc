"""Sizes that follow from the backbone, so that a config says each of them once."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mmvitssl.registry import MODELS

# an entry of `levels`: a block or stage, or the share of the depth after which it is
Levels = int | Sequence[int | float]


def resolve_levels(owner: str, levels: Levels, depth: int) -> tuple[int, ...]:
    """Zero-based blocks or stages.

    Args:
        owner: whose argument ``levels`` is, for messages.
        levels: K for K of them at even intervals, ``floor(depth / K) * j - 1`` (RePre, section
            3.2); or a list of zero-based blocks (int) or shares of the depth (float): 0.5 is the
            last block of the first half, 1.0 the last of all.
        depth: of the backbone.

    Raises:
        ValueError: a level that does not exist, or levels that do not ascend.
    """
    if isinstance(levels, int):
        if not 1 <= levels <= depth:
            raise ValueError(f"{owner}={levels} levels, but the backbone has {depth}.")
        return tuple(depth // levels * j - 1 for j in range(1, levels + 1))
    found = tuple(
        max(round(level * depth), 1) - 1 if isinstance(level, float) else level for level in levels
    )
    if not found or list(found) != sorted(set(found)):
        raise ValueError(f"{owner}={tuple(levels)} must ascend, and not be empty: blocks {found}.")
    if not 0 <= found[0] <= found[-1] < depth:
        number = min(len(found), depth)
        even = resolve_levels(owner, number, depth)
        raise ValueError(
            f"{owner}={found} do not all exist: this encoder has 0..{depth - 1} (Swin counts "
            f"stages, a ViT blocks); evenly spaced would be {even}, which is {owner}={number}."
        )
    return found


def _same(stated: Any, derived: Any) -> bool:
    """Whether two sizes are equal; one number stands for a list of equal ones."""
    if isinstance(derived, tuple):
        stated = (stated,) * len(derived) if isinstance(stated, int) else tuple(stated)
    return stated == derived


def agreed(name: str, stated: Any, derived: Any, source: str = "the encoder") -> Any:
    """The derived value, where none or the same one is stated.

    Raises:
        ValueError: another one is stated; the message has both.
    """
    if stated is not None and not _same(stated, derived):
        raise ValueError(
            f"{name}={stated}, but {source} gives {derived}: leave {name.rpartition('.')[2]} out, "
            f"so that it follows, or make both the same."
        )
    return derived


def build_part(
    config: Mapping[str, Any], name: str, source: str = "the encoder", /, **derived: Any
) -> Any:
    """Build a part of a model; sizes that follow from another part are filled in.

    Args:
        config: of the part.
        name: where the config stands, for messages.
        source: what the sizes follow from, for messages.
        derived: sizes by argument; those that the part does not take are left out.

    Raises:
        ValueError: the config states another size; the message has both.
    """
    filled = dict(config)
    kind = filled.get("type")  # where there is none, or an unknown one, the registry says so
    known: Any = MODELS.get(kind) if isinstance(kind, str) else kind
    takes = inspect.signature(known).parameters if known is not None else {}
    for argument, value in derived.items():
        if value is None:
            continue
        if argument in takes or argument in filled:
            filled[argument] = agreed(f"{name}.{argument}", filled.get(argument), value, source)
    return MODELS.build(filled)


def share_of(count: int | float, total: int, least: int = 1) -> int:
    """A number of patches, or (float) the share of ``total``, at least ``least``."""
    return max(round(count * total), least) if isinstance(count, float) else count
