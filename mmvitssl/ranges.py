"""Allowed ranges of numeric arguments of registered classes, by the arguments' names.

An argument of one name means the same in every class, so that its range is stated once. Names of
single classes come first (``Class.name``). Arguments that are not named here are checked by their
class, or may be any number.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple


class Range(NamedTuple):
    """An interval, which includes its ends unless they are open."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float):
            return False
        above = value > self.low if self.low_open else value >= self.low
        return above and (value < self.high if self.high_open else value <= self.high)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"be above {self.low:g}" if self.low_open else f"be {self.low:g} or more"
        start, end = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"lie in {start}{self.low:g}, {self.high:g}{end}"


class CountOrPart:
    """A whole number from 1 on, or a share in (0, 1]."""

    def __contains__(self, value: object) -> bool:
        return value in (COUNT if isinstance(value, int) else PART)

    def __str__(self) -> str:
        return "be a whole number from 1 on, or a share in (0, 1]"


COUNT, INDEX = Range(1), Range(0)  # of things; from 0 on
POSITIVE, AMOUNT = Range(0, low_open=True), Range(0)
SHARE = Range(0, 1)
PART = Range(0, 1, low_open=True)  # not nothing
RATE = Range(0, 1, high_open=True)  # not all
INSIDE = Range(0, 1, low_open=True, high_open=True)

RANGES: dict[str, Range | CountOrPart] = {
    name: limits
    for limits, names in (
        (COUNT, "batch_size bins blocks bottleneck cell cells channels codes contexts depth "
                "distance embed_dim hidden hidden_channels image_channels image_size in_a_row "
                "in_channels in_chans interval images layers lora_rank looks max_pixels min_block "
                "neighbours num_blocks num_classes num_heads num_layers num_masked num_outs "
                "num_views out_channels patch_prototypes patch_size per_patch prototypes "
                "queries queues relative_grid repeats rows size stride targets topk unit width "
                "window window_size world_size vocabulary"),
        (INDEX, "check first_view global_views lag local_views mask_at max_broken min_keep "
                "patience rank seed single_blocks view views warmup_epochs warmup_iters workers"),
        (POSITIVE, "clip_each clip_parts eps factor layer_scale least lora_alpha mlp_ratio "
                   "norm_eps of_image reduce rest scales signal student_temperature "
                   "target_aspect teacher_temperature temperature warmup_temperature"),
        (AMOUNT, "align_weight beta brightness contrast cutmix entropy_margin epochs "
                 "interpolate_offset kl_weight "
                 "least_rank least_std minutes mixup saturation scale sigma std weights"),
        (SHARE, "center_momentum erasing memory momentum p prob rebalance score_thr share "
                "switch_prob"),
        (CountOrPart(), "pairs patches top"),
        (PART, "context_scale crop fraction min_aspect part target_scale"),
        (RATE, "drop_path jitter label_smoothing ratios smoothing variances"),
        (INSIDE, "ratio"),
    )
    for name in names.split()
}  # fmt: skip
RANGES |= {
    "ColorJitter.hue": Range(-0.5, 0.5),
    "ContextDecoder.depth": INDEX,
    "Contrastive.pairs": INDEX,
    "CosineLoss.scale": POSITIVE,
    "DalleTokenizer.first": COUNT,
    "HOGTarget.window": INDEX,
    "InfoNCE.scale": POSITIVE,
    "MomentumTarget.end": SHARE,
    "NTXent.scale": POSITIVE,
    "RandomResizedCrop.ratio": POSITIVE,
    "RandomResizedCrop.scale": POSITIVE,
    "Solarize.threshold": Range(0, 256),
    "StratifiedMasking.max_block": PART,
    "StratifiedMasking.ratio": RATE,
    "StratifiedMasking.share": PART,
    "ViewPreprocessor.std": POSITIVE,
    "WatchdogHook.first": POSITIVE,
    "WeightDecayHook.end": AMOUNT,
    "WindowMasking.views": COUNT,
    "BlockMasking.max_block": COUNT,
}
# pairs of (least, greatest)
ASCENDING = ("context_scale", "sigma", "target_aspect", "target_scale", "RandomResizedCrop.scale",
             "RandomResizedCrop.ratio", "StratifiedMasking.ratio")  # fmt: skip
# sizes that attention splits among its heads
SPLIT = ("width", "embed_dim", "in_channels")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)


def out_of_range(owner: str, arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with the numbers that a class gets, in a sentence; None: nothing.

    Args:
        owner: the class's name.
        arguments: by name.
    """
    for name, value in arguments.items():
        limits = RANGES.get(f"{owner}.{name}", RANGES.get(name))
        if name == "weights" and isinstance(value, Mapping):
            value = list(value.values())
        numbers = [] if limits is None else list(_numbers(value))
        if limits is not None and any(number not in limits for number in numbers):
            return f"{owner}.{name}={arguments[name]!r} must {limits}."
        pair = len(numbers) == 2 and not {name, f"{owner}.{name}"}.isdisjoint(ASCENDING)
        if pair and numbers[0] > numbers[1]:
            return f"{owner}.{name}={value!r} must be (least, greatest)."
    heads = arguments.get("num_heads")
    width = next((arguments[name] for name in SPLIT if type(arguments.get(name)) is int), None)
    if type(heads) is int and width is not None and width % heads:
        return f"{owner}.num_heads={heads} must divide its width of {width} channels."
    return None


def checked(owner: type) -> None:
    """Check the numbers that are passed to a class's constructor.

    Its own arguments are then checked however it is built: from a config, in Python, by a subclass.
    What it hands on to a base class (``**kwargs``) is that one's to check. An error of the
    constructor that names the argument comes first; others are what impossible numbers lead to.
    """
    if "__init__" not in vars(owner):
        return
    init: Callable[..., None] = owner.__init__  # type: ignore[misc]
    signature = inspect.signature(init)

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:
            return init(self, *args, **kwargs)  # which says what is missing
        bound.apply_defaults()
        wrong = out_of_range(owner.__name__, bound.arguments)
        try:
            init(self, *args, **kwargs)
        except Exception as error:
            named = wrong is None or wrong.partition("=")[0].rpartition(".")[2] in str(error)
            if wrong is None or (named and isinstance(error, ValueError)):
                raise
            raise ValueError(wrong) from error
        if wrong is not None:
            raise ValueError(wrong)

    owner.__init__ = __init__  # type: ignore[misc]
