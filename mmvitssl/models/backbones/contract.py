"""The contract of a backbone: what it must have, what it says of itself, and what it may add.

A class that has the members of :class:`Backbone` works with every task, probe and transfer that
its :class:`BackboneSpec` allows. :class:`BackboneModule` has defaults for all but ``spec`` and
``forward``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mmvitssl.structures import Encoded, TokenPlan

Size = tuple[int, int]
Pass = tuple[Tensor, TokenPlan | None, Sequence[int]]  # images, plan and levels


@dataclass(frozen=True)
class BackboneSpec:
    """The sizes and abilities of a backbone.

    Levels are what ``forward(levels=...)`` counts: the blocks of a plain transformer, the stages of
    a hierarchical backbone.

    Attributes:
        embed_dim: channels of the class token and of the patches that ``forward`` returns.
        depth: number of levels.
        patch_size: side in pixels of what one token of the first level is made from; image sizes
            of dense predictors are padded to a multiple of it.
        image_size: (height, width) in pixels that the backbone is built for.
        level_channels: channels of each level.
        level_strides: pixels per step of the map of each level.
        in_channels: channels of the images.
        num_heads: attention heads: one number, or one for each stage; empty: none, or not known.
        prefix_tokens: names of the learned tokens between the class token and the patches.
        has_class_token: whether ``Encoded.cls`` is a token; else it is a pooled feature.
        can_mask: whether it takes a :class:`~mmvitssl.structures.TokenPlan`.
        has_mask_token: whether it can replace the masked patches of a plan.
        can_hide_positions: whether it can hide where a patch is (``unplaced``).
        has_positions: whether it has a table of absolute positions for ``image_size``.
        has_attention: whether ``forward(attention=...)`` returns attention maps.
    """

    embed_dim: int
    depth: int
    patch_size: int
    image_size: Size
    level_channels: tuple[int, ...]
    level_strides: tuple[int, ...]
    in_channels: int = 3
    num_heads: tuple[int, ...] = ()
    prefix_tokens: tuple[str, ...] = ()
    has_class_token: bool = False
    can_mask: bool = False
    has_mask_token: bool = False
    can_hide_positions: bool = False
    has_positions: bool = False
    has_attention: bool = False

    def __post_init__(self) -> None:
        for name in ("level_channels", "level_strides"):
            if len(getattr(self, name)) != self.depth:
                raise ValueError(
                    f"BackboneSpec.{name}={getattr(self, name)} must have one number for each of "
                    f"the {self.depth} levels (depth)."
                )

    @property
    def stride(self) -> int:
        """Pixels per step of the grid of ``Encoded.patches``."""
        return self.level_strides[-1]

    @property
    def grid(self) -> Size:
        """Rows and columns of ``Encoded.patches`` for an image of ``image_size``."""
        height, width = self.image_size
        return math.ceil(height / self.stride), math.ceil(width / self.stride)

    @property
    def has_patch_tokens(self) -> bool:
        """Whether every patch keeps a token of its own from the first level to the last."""
        return set(self.level_strides) == {self.patch_size}

    def channels_of(self, levels: Sequence[int]) -> tuple[int, ...]:
        """Channels of some levels."""
        return tuple(self.level_channels[level] for level in levels)


class HasSpec(Protocol):
    """What has sizes and abilities."""

    @property
    def spec(self) -> BackboneSpec:
        """Sizes and abilities."""


class IsModule(Protocol):
    """What callers use of ``torch.nn.Module``, which a protocol cannot inherit."""

    training: bool

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Any: ...
    def train(self, mode: bool = True) -> Any: ...
    def eval(self) -> Any: ...
    def requires_grad_(self, requires_grad: bool = True) -> Any: ...


@runtime_checkable
class Backbone(IsModule, HasSpec, Protocol):
    """An image encoder. Every member is needed; :class:`BackboneModule` has defaults.

    Attributes:
        optional_state: beginnings of the names of tensors that a file may have and this module
            may lack, such as the mask token of a pretraining.
    """

    optional_state: tuple[str, ...]

    def forward(
        self,
        images: Tensor,
        plan: TokenPlan | None = None,
        levels: Sequence[int] = (),
        *,
        norm_levels: bool = False,
    ) -> Encoded:
        """Encode (B, C, H, W) normalised images.

        Args:
            images: the batch.
            plan: which patches of which image enter; None: all of all.
            levels: zero-based levels whose class token and patches are wanted.
            norm_levels: whether the final norm is applied to these where their width allows it.
        """

    def forward_levels(self, images: Tensor, levels: Sequence[int]) -> dict[int, Tensor]:
        """The raw patches or maps of some levels, without running what follows the last."""

    def grid_of(self, image_size: Size) -> Size:
        """Rows and columns of ``Encoded.patches`` for an image of (height, width) pixels.

        Raises:
            ValueError: the backbone does not take this size.
        """

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """Layer of a parameter, and number of layers, for layer-wise learning-rate decay."""

    def adapt_state(
        self,
        state: dict[str, Tensor],
        grid: Size | None = None,
        relative_grid: Size | None = None,
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Fit the tensors of a file to this module; returns them, and a line for each change."""

    def unused_after(self, level: int) -> tuple[str, ...]:
        """Beginnings of the names of parameters that no level up to this one depends on."""

    def units(self) -> Sequence[nn.Module]:
        """Submodules that are sharded one by one (FSDP); each is called as a whole."""


@runtime_checkable
class Normed(Protocol):
    """A backbone whose final norm, a layer norm of ``embed_dim`` channels, can be taken out."""

    def take_norm(self) -> nn.LayerNorm:
        """Replace the final norm by an identity, and return it."""


@runtime_checkable
class Packs(Protocol):
    """A backbone that can encode images of several sizes as one sequence."""

    def can_pack(self, plan: TokenPlan | None) -> bool:
        """Whether a pass may share a sequence with others."""

    def forward_packed(self, passes: Sequence[Pass]) -> list[Encoded]:
        """``forward`` of each pass (images, plan, levels)."""


def pop_norm(backbone: Any) -> nn.LayerNorm:
    """:meth:`Normed.take_norm` of a backbone whose final norm is ``norm``; files may have it."""
    norm: nn.LayerNorm = backbone.norm
    backbone.norm = nn.Identity()
    backbone.optional_state = (*backbone.optional_state, "norm.")
    return norm


@runtime_checkable
class ReadsOwnFiles(Protocol):
    """A backbone that wraps a model of another library, whose files it reads."""

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The tensors of such a file under this module's names; None: it is another file."""


@runtime_checkable
class UsesPart(Protocol):
    """A module that holds a backbone and does not use all of it, such as feature maps.

    Attributes:
        unused_state: beginnings of the names of the backbone's tensors that it does not use.
    """

    unused_state: tuple[str, ...]


FORWARD = ("images", "plan", "levels", "norm_levels")
METHODS = (
    "forward", "forward_levels", "grid_of", "get_layer_depth", "adapt_state", "unused_after",
    "units",
)  # fmt: skip


def _parameters(forward: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(forward).parameters)


def missing_of(module: object) -> list[str]:
    """What a module lacks of a :class:`Backbone`, in words; empty: nothing."""
    missing = [] if isinstance(module, nn.Module) else ["it is no torch.nn.Module"]
    spec = inspect.getattr_static(module, "spec", None)
    if spec is None:
        missing.append("spec, a BackboneSpec")
    missing += [
        f"{name}()"
        for name in METHODS
        if not callable(inspect.getattr_static(module, name, None))
        or (name == "forward" and getattr(type(module), name) is nn.Module.forward)
    ]
    if not isinstance(inspect.getattr_static(module, "optional_state", None), tuple):
        missing.append("optional_state, a tuple of strings")
    if missing:
        return missing
    assert isinstance(module, Backbone)
    if not isinstance(module.spec, BackboneSpec):
        return [f"spec must be a BackboneSpec, not a {type(module.spec).__name__}"]
    needed = [*FORWARD]
    needed += ["unplaced"] if module.spec.can_hide_positions else []
    needed += ["attention"] if module.spec.has_attention else []
    lacking = [name for name in needed if name not in _parameters(module.forward)]
    return [f"the argument{'s' * (len(lacking) > 1)} {', '.join(lacking)} of forward"] * bool(
        lacking
    )


def check_backbone(module: object) -> Backbone:
    """The module as a backbone.

    Raises:
        TypeError: it lacks something; the message names everything that it lacks.
    """
    missing = missing_of(module)
    if missing:
        raise TypeError(
            f"{type(module).__name__} is no backbone; it lacks: {'; '.join(missing)}. See "
            f"mmvitssl.models.backbones.contract.Backbone; BackboneModule has defaults for all but "
            f"spec and forward."
        )
    assert isinstance(module, Backbone)
    return module


def find_backbone(module: nn.Module) -> tuple[str, Backbone] | None:
    """The first backbone in a module, which may be one itself, and its name; None: it has none."""
    named = module.named_modules()
    return next(((name, part) for name, part in named if isinstance(part, Backbone)), None)


def backbone_in(module: nn.Module) -> Backbone:
    """The first backbone in a module, which may be one itself.

    Raises:
        TypeError: it holds none.
    """
    found = find_backbone(module)
    if found is None:
        check_backbone(module)
        raise TypeError(f"{type(module).__name__} holds no backbone.")
    return found[1]


def check_levels(owner: Backbone, levels: Sequence[int], first: int = 0) -> tuple[int, ...]:
    """The levels in ascending order, each once.

    torch.compile takes numbers that change between calls for unknown ones, and then answers
    ``index in levels`` wrongly (torch 2.11). The numbers returned are constants to it.

    Raises:
        ValueError: a level does not exist.
    """
    wrong = [level for level in levels if not first <= level < owner.spec.depth]
    if wrong:
        words = "blocks" if owner.spec.has_patch_tokens else "stages"
        raise ValueError(
            f"Levels {wrong} do not exist: this encoder has {words} "
            f"{first}..{owner.spec.depth - 1}."
        )
    return tuple(i for i in range(owner.spec.depth) if any(i == level for level in levels))


def refuse_plan(owner: Backbone, plan: TokenPlan | None) -> None:
    """Raise ValueError if there is a plan: for backbones that need all patches."""
    if plan is not None:
        raise ValueError(
            f"{type(owner).__name__} takes no token plan: it needs all patches. Masked modeling "
            f"needs a ViT, or another backbone that can leave patches out."
        )


class BackboneModule(nn.Module):
    """Defaults for all of :class:`Backbone` but ``spec``, set in ``__init__``, and ``forward``."""

    spec: BackboneSpec
    optional_state: tuple[str, ...] = ()

    def forward_levels(self, images: Tensor, levels: Sequence[int]) -> dict[int, Tensor]:
        """The raw patches or maps of some levels; what follows the last runs, too."""
        levels_of: dict[int, Tensor] = self(images, levels=tuple(levels)).hierarchy
        return levels_of

    def grid_of(self, image_size: Size) -> Size:
        """Rows and columns of the last level, rounded up."""
        height, width = (math.ceil(side / self.spec.stride) for side in image_size)
        return height, width

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """One layer: layer-wise decay gives all parameters the same rate."""
        return 0, 1

    def adapt_state(
        self,
        state: dict[str, Tensor],
        grid: Size | None = None,
        relative_grid: Size | None = None,
    ) -> tuple[dict[str, Tensor], list[str]]:
        """The tensors as they are."""
        return state, []

    def unused_after(self, level: int) -> tuple[str, ...]:
        """Parameters that get no gradient from the levels up to this one, found by trying.

        One image of ``spec.image_size`` is encoded in evaluation mode.
        """
        names = [name for name, parameter in self.named_parameters() if parameter.requires_grad]
        parameters = [self.get_parameter(name) for name in names]
        if not parameters:
            return ()
        first, training = parameters[0], self.training
        image = first.new_zeros(1, self.spec.in_channels, *self.spec.image_size)
        self.eval()
        with torch.enable_grad():
            maps = self.forward_levels(image, range(level + 1))
            total = torch.stack([one.float().sum() for one in maps.values()]).sum()
            found = torch.autograd.grad(total, parameters, allow_unused=True)
        self.train(training)
        return tuple(n for n, gradient in zip(names, found, strict=True) if gradient is None)

    def units(self) -> Sequence[nn.Module]:
        """None: the backbone is sharded as one unit."""
        return ()
