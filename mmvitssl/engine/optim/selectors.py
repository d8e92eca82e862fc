"""Names in a config that choose parameters of the model: each must choose some."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from mmvitssl.config_tree import kind_of, listed

# what an encoder has with some of its options only: recipes that several encoders share name them
OPTIONAL = (
    "cls_token", "pos_embed", "mask_token", "absolute_pos_embed", "relative_position_bias_table",
    "rel_pos_h", "rel_pos_w",
)  # fmt: skip


def _stated(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(place in the config, name) of every choice of parameters."""
    place = "optim_wrapper.paramwise_cfg"
    paramwise = (config.get("optim_wrapper") or {}).get("paramwise_cfg") or {}
    yield from ((f"{place}.custom_keys", key) for key in paramwise.get("custom_keys") or {})
    yield from ((f"{place}.no_decay", key) for key in listed(paramwise.get("no_decay")))
    for number, hook in enumerate(config.get("custom_hooks") or ()):
        if kind_of(hook) == "FreezeHook":
            yield from ((f"custom_hooks.{number}.names", key) for key in listed(hook.get("names")))


def check_selectors(config: Mapping[str, Any], model: nn.Module) -> list[str]:
    """Compare the names in ``custom_keys``, ``no_decay`` and ``FreezeHook.names`` with the model.

    Args:
        config: of the training.
        model: without its distributed wrapper.

    Returns:
        A line for each name that changes nothing and may be there: of a module without
        parameters (a balancer with fixed weights), or of tokens and positions that encoders have
        with some of their options only.

    Raises:
        ValueError: a name is in none of the model's, with the nearest of them.
    """
    parameters = [name for name, _ in model.named_parameters()]
    modules = [name for name, _ in model.named_modules()]
    notes = []
    for place, key in _stated(config):
        ends = place.endswith("no_decay")
        if any(name.endswith(key) if ends else key in name for name in parameters):
            continue
        if key in OPTIONAL or (not ends and any(key in name for name in modules)):
            notes.append(f"{place} names '{key}', of which this model has no parameters.")
            continue
        words = {part for name in parameters for part in (name, *name.split("."))}
        # whole names and their parts; numbers of blocks are near to nothing
        known = sorted(word for word in words if not word.isdigit())
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.5) or parameters[:3]
        wrong = "no parameter ends so" if ends else "nothing is so named"
        raise ValueError(
            f"{place} names '{key}', and {wrong} in this {type(model).__name__}: the "
            f"nearest names are {', '.join(near)}."
        )
    return notes
