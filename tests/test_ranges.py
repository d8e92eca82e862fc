"""Numbers that no class can use are refused wherever it is built, with name, value and range."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from mmengine.registry import Registry

from mmvitssl import registry
from mmvitssl.models.backbones import ViT
from mmvitssl.ranges import ASCENDING, RANGES
from mmvitssl.registry import HOOKS, MODELS, TRANSFORMS

# arguments that may be any number, or whose classes say themselves what they may be
FREE = {
    "grid", "indices", "initial", "levels", "mean", "offset", "threshold", "value_range",
    "warmup_start", "global_blocks", "max_block",
}  # fmt: skip


def flat(hint: Any) -> set[Any]:
    if typing.get_origin(hint) is typing.Literal or isinstance(hint, list):
        return set()
    parts = typing.get_args(hint)
    return set().union(*map(flat, parts)) if parts else {hint}


def arguments() -> Iterator[tuple[str, str]]:
    """(class, argument) of each number that a class of this package takes."""
    every = [one for one in vars(registry).values() if isinstance(one, Registry)]
    for one in every:
        one.import_from_location()
        for name, owner in one.module_dict.items():
            if inspect.isclass(owner) and owner.__module__.startswith("mmvitssl."):
                hints = typing.get_type_hints(owner.__init__)
                for argument in inspect.signature(owner).parameters:
                    if flat(hints.get(argument)) & {int, float}:
                        yield name, argument


def test_every_number_has_a_range_or_is_known_to_be_free() -> None:
    found = set(arguments())
    ranged = {(owner, name) for owner, name in found if {name, f"{owner}.{name}"} & RANGES.keys()}
    assert {name for _, name in found - ranged} <= FREE
    known = {name for pair in found for name in (pair[1], ".".join(pair))}
    others = {"embed_dim", "eps", "warmup_iters"}  # of sizes in a dict, of **kwargs
    assert {*RANGES, *ASCENDING} - known <= others


@pytest.mark.parametrize(
    ("built", "words"),
    [
        (dict(type="ViT", layer_scale=0.0), r"ViT\.layer_scale=0\.0 must be above 0"),
        (dict(type="ViT", arch=dict(embed_dim=30, depth=1, num_heads=4)), r"num_heads=4 must div"),
        (dict(type="RandomMasking", ratio=1.0), r"RandomMasking\.ratio=1\.0 must lie"),
        (dict(type="NTXent", scale=-0.2), r"NTXent\.scale=-0\.2 must be above 0"),
        (dict(type="FixedWeights", weights=dict(a=-1.0)), r"weights=\{'a': -1\.0\} must be 0 or"),
        (dict(type="BlockPredictor", in_channels=8, width=10, num_heads=4), r"num_heads=4 must"),
        (dict(type="Inpainting", in_channels=8, patch_size=8, patches=1.5), r"patches=1\.5 must"),
        (dict(type="ProjectionMLP", in_channels=8, out_channels=0), r"out_channels=0 must be 1 or"),
        (
            dict(type="FeatureTarget", backbone=None, top=-0.5),
            r"FeatureTarget\.top=-0\.5 must be a whole number",
        ),
    ],
)
def test_models_refuse_impossible_numbers(built: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MODELS.build(built)


def test_so_do_hooks_transforms_subclasses_and_calls_in_python() -> None:
    class Mine(ViT):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)

    with pytest.raises(ValueError, match=r"ViT\.drop_path=1\.0 must lie in \[0, 1\)"):
        Mine(arch="tiny", drop_path=1.0)
    with pytest.raises(ValueError, match=r"RandomResizedCrop\.scale must be \(least, greatest"):
        TRANSFORMS.build(dict(type="RandomResizedCrop", size=8, scale=(1.0, 0.2)))
    with pytest.raises(ValueError, match=r"HealthHook\.images=0 must be 1 or more"):
        HOOKS.build(dict(type="HealthHook", images=0))
    with pytest.raises(ValueError, match=r"GaussianBlur\.p must lie in \[0, 1\]"):
        TRANSFORMS.build(dict(type="GaussianBlur", p=2))
