"""Any model of timm that returns intermediate features, as a backbone."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from timm.layers import to_2tuple
from timm.models import adapt_input_conv, group_parameters
from torch import Tensor, nn

from mmvitssl.arguments import check_no_weights
from mmvitssl.models.backbones.contract import (
    BackboneModule,
    BackboneSpec,
    Size,
    check_levels,
    refuse_plan,
)
from mmvitssl.models.backbones.patch_tokens import check_channels
from mmvitssl.models.stochastic_depth import per_sample
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded, TokenPlan

SIZED = ("dynamic_img_size", "strict_img_size")  # timm's options for images of any size


def _accepted(model: str, arguments: Mapping[str, Any]) -> set[str]:
    """Names of the arguments that the class of a timm model takes; nothing is allocated.

    Raises:
        ValueError: timm has no such model, or it returns no intermediate features.
    """
    if not timm.is_model(model):
        near = ", ".join(timm.list_models(f"*{model.split('_')[0]}*")[:8])
        raise ValueError(
            f"TimmBackbone.model='{model}' is no model of timm {timm.__version__}"
            + (f"; it has {near}." if near else ".")
        )
    with torch.device("meta"):
        built = timm.create_model(model, num_classes=0, **arguments)
    if not callable(inspect.getattr_static(type(built), "forward_intermediates", None)):
        raise ValueError(
            f"TimmBackbone.model='{model}': timm's {type(built).__name__} has no "
            f"forward_intermediates, which levels are read with."
        )
    return set(inspect.signature(type(built).__init__).parameters)


def _stage(features: Tensor, layout: str) -> Tensor:
    """Final features of any layout -> tokens (B, N, C)."""
    if features.ndim == 3:
        return features
    return features.flatten(1, 2) if layout == "NHWC" else features.flatten(2).transpose(1, 2)


@MODELS.register_module()
class TimmBackbone(BackboneModule):
    """A model of timm: ConvNeXt, ResNet, Hiera, EVA, DINOv2 with registers and others.

    It works with every task that needs no token plan. Levels are timm's feature levels: the blocks
    of a plain transformer, the stages of a hierarchical model (of a ResNet also the stem).
    ``Encoded.cls`` is the feature that timm classifies by: the class token, or the pooled patches.

    Args:
        model: name of the model in timm.
        image_size: side, or (height, width), of the images in pixels.
        in_channels: channels of the images.
        drop_path: stochastic depth rate of the last block.
        gradient_checkpointing: recompute blocks in the backward pass to save memory.
        model_args: further arguments of ``timm.create_model``.

    Raises:
        ValueError: no model of timm, or one without intermediate features.
    """

    def __init__(
        self,
        model: str,
        image_size: int | Size = 224,
        in_channels: int = 3,
        drop_path: float = 0.0,
        gradient_checkpointing: bool = False,
        model_args: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        arguments = dict(model_args or {})
        check_no_weights("TimmBackbone.model_args", arguments)
        accepted = _accepted(model, arguments)
        size: Size = to_2tuple(image_size)
        arguments.update({"img_size": size} if "img_size" in accepted else {})
        arguments.update({"drop_path_rate": drop_path} if drop_path else {})
        arguments.update({name: name[0] == "d" for name in SIZED if name in accepted})
        self.name, self.image_size, self.in_channels = model, size, in_channels
        self.any_size = "img_size" not in accepted or bool(accepted & set(SIZED))
        self.model: Any = timm.create_model(model, num_classes=0, in_chans=in_channels, **arguments)
        per_sample(self.model)
        if gradient_checkpointing:
            self.model.set_grad_checkpointing(True)
        self.layout: str = getattr(self.model, "output_fmt", "NCHW")
        options = inspect.signature(self.model.forward_intermediates).parameters
        self.has_prefix = "return_prefix_tokens" in options
        self.num_prefix: int = self.model.num_prefix_tokens if self.has_prefix else 0
        registers = getattr(self.model, "num_reg_tokens", 0) if self.has_prefix else 0
        pooling = getattr(self.model, "global_pool", "avg") if self.has_prefix else "avg"
        self.num_registers, self.has_class = registers, pooling == "token"
        # shapes are those of a run without values
        with torch.device("meta"):
            twin = timm.create_model(model, num_classes=0, in_chans=in_channels, **arguments)
            final, maps = twin.eval().forward_intermediates(
                torch.zeros(1, in_channels, *size), output_fmt="NCHW"
            )
            pooled = twin.forward_head(final, pre_logits=True)
        width = _stage(final, self.layout).shape[-1]
        self.has_pooled = tuple(pooled.shape) == (1, width)
        strides = tuple(round(size[0] / level.shape[-2]) for level in maps)
        self.spec = BackboneSpec(
            embed_dim=width,
            depth=len(maps),
            patch_size=strides[0],
            image_size=size,
            level_channels=tuple(level.shape[1] for level in maps),
            level_strides=strides,
            in_channels=in_channels,
            prefix_tokens=tuple(f"register_{i + 1}" for i in range(registers)),
            has_class_token=self.has_class,
            has_positions=any(name.endswith("pos_embed") for name in self.model.state_dict()),
        )

    def grid_of(self, image_size: Size) -> Size:
        """Rows and columns of the last level.

        Raises:
            ValueError: the model is for images of one size, or the patch does not divide them.
        """
        if not self.any_size and tuple(image_size) != self.image_size:
            height, width = self.image_size
            raise ValueError(
                f"timm's {self.name} takes images of {height}x{width} pixels only, not "
                f"{image_size[0]}x{image_size[1]}: set TimmBackbone.image_size to the size of the "
                f"images, or resize and pad them to this one."
            )
        patch = self.spec.patch_size
        if self.spec.has_patch_tokens and any(side % patch for side in image_size):
            raise ValueError(
                f"An image of {image_size[0]}x{image_size[1]} pixels cannot be cut into patches of "
                f"{patch} (timm's {self.name})."
            )
        return super().grid_of(image_size)

    def _read(self, images: Tensor, levels: Sequence[int], norm: bool, last: bool) -> Any:
        """timm's final features where ``last``, and maps and prefix tokens of the levels."""
        levels = check_levels(self, levels)
        check_channels(self, images)
        self.grid_of((images.shape[-2], images.shape[-1]))
        found = self.model.forward_intermediates(
            images,
            indices=list(levels) or [self.spec.depth - 1],
            norm=norm and self.has_prefix,
            stop_early=not last,
            output_fmt="NCHW",
            intermediates_only=not last,
            **({"return_prefix_tokens": True} if self.num_prefix else {}),
        )
        final, found = found if last else (None, found)
        pairs = [one if self.num_prefix else (one, None) for one in found]
        return final, dict(zip(levels, pairs, strict=bool(levels)))

    def forward_levels(self, images: Tensor, levels: Sequence[int]) -> dict[int, Tensor]:
        """(B, C_i, h_i, w_i) of some levels only; later ones do not run."""
        pairs = self._read(images, levels, norm=False, last=False)[1]
        return {level: pair[0] for level, pair in pairs.items()}

    def forward(
        self,
        images: Tensor,
        plan: TokenPlan | None = None,
        levels: Sequence[int] = (),
        *,
        norm_levels: bool = False,
    ) -> Encoded:
        """Encode images.

        Args:
            images: (B, in_channels, H, W), normalised.
            plan: must be None.
            levels: zero-based levels whose maps (B, C_i, h_i, w_i) are wanted.
            norm_levels: whether the final norm is applied: to all levels of a plain transformer,
                to the last level of a hierarchical model.

        Raises:
            ValueError: a plan, a level that does not exist, or a size that the model does not take.
        """
        refuse_plan(self, plan)
        final, pairs = self._read(images, levels, norm_levels, last=True)
        tokens = _stage(final, self.layout)
        patches = tokens[:, self.num_prefix :]
        grid = self.grid_of((images.shape[-2], images.shape[-1]))
        deepest = self.spec.depth - 1
        if norm_levels and not self.has_prefix and deepest in pairs:
            features = pairs[deepest][0]
            if features.shape[1] == patches.shape[2]:
                pairs[deepest] = (patches.transpose(1, 2).unflatten(2, grid), None)
        first = self.num_prefix - self.num_registers
        cls = tokens[:, 0] if self.has_class else patches.mean(dim=1)
        if not self.has_class and self.has_pooled:
            cls = self.model.forward_head(final, pre_logits=True)
        names = enumerate(self.spec.prefix_tokens)
        return Encoded(
            cls=cls,
            prefix={name: tokens[:, first + i] for i, name in names},
            patches=patches,
            hierarchy={level: features for level, (features, _) in pairs.items()},
            grid=grid,
            tokens=tokens if self.num_prefix else None,
            level_cls={
                level: prefix[:, 0] if self.has_class else features.mean(dim=(2, 3))
                for level, (features, prefix) in pairs.items()
            },
        )

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """Layer of a parameter as timm groups them for layer-wise learning-rate decay."""
        layers = group_parameters(self.model, self.model.group_matcher(), reverse=True)
        return layers[name.removeprefix("model.")], max(layers.values()) + 1

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The tensors of a file of timm, or of the model's authors, under this module's names.

        timm's classifier is left out. None: the file is of something else.
        """
        module = sys.modules[type(self.model).__module__]
        convert = getattr(module, "checkpoint_filter_fn", None)
        own = self.model.state_dict()
        if not set(own) <= set(state) and convert is not None:
            state = convert(dict(state), self.model)
        if not set(own) <= set(state):
            return None
        head = self.model.default_cfg.get("classifier") or ()
        heads = (head,) if isinstance(head, str) else tuple(head)
        kept = {key for key in state if not any(key.startswith(f"{name}.") for name in heads)}
        return {f"model.{key}": state[key] for key in state if key in kept | set(own)}

    def adapt_state(
        self,
        state: dict[str, Tensor],
        grid: Size | None = None,
        relative_grid: Size | None = None,
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Resize position tables as timm does, and fit the first layer to the channels."""
        own, notes = self.state_dict(), []
        convert = getattr(sys.modules[type(self.model).__module__], "checkpoint_filter_fn", None)
        tables = [k for k, v in state.items() if "pos_embed" in k and k in own]
        if convert is not None and any(state[k].shape != own[k].shape for k in tables):
            plain = {key.removeprefix("model."): tensor for key, tensor in state.items()}
            state = {f"model.{k}": v for k, v in convert(plain, self.model).items()}
            notes.append(f"position table to {self.spec.grid[0]}x{self.spec.grid[1]} (timm)")
        convolutions = self.model.default_cfg.get("first_conv") or ()
        for name in (convolutions,) if isinstance(convolutions, str) else convolutions:
            key = f"model.{name}.weight"
            weight = state.get(key)
            if weight is not None and weight.shape[1] == 3 != self.in_channels:
                state = {**state, key: adapt_input_conv(self.in_channels, weight)}
                notes.append(f"{key} from 3 channels to {self.in_channels}")
        return state, notes

    def units(self) -> Sequence[nn.Module]:
        """What timm reads features from: blocks or stages."""
        names = [info["module"] for info in self.model.feature_info]
        return [self.model.get_submodule(name) for name in names]
