"""Encoders as models of timm: which architecture, with which arguments, and its weights.

Names are those of the formats ``timm``, ``beit`` and ``timm-swin``; what timm's layers have no
place for is folded into what they have, so that the features stay the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmvitssl.arguments import check_no_weights
from mmvitssl.checkpoint.formats import FORMATS
from mmvitssl.checkpoint.formats.base import square_grid
from mmvitssl.checkpoint.formats.masked import SHARED_TABLE, table_a_block
from mmvitssl.checkpoint.safe import CheckpointError
from mmvitssl.models.backbones.architectures import architecture
from mmvitssl.models.backbones.contract import backbone_in
from mmvitssl.models.backbones.relative import bias_rows, resized_table
from mmvitssl.structures import Encoded

State = dict[str, Tensor]
Size = tuple[int, int]  # height and width in pixels
BLOCK = "encoder.blocks.{}."
NAMES = {192: "tiny", 384: "small", 768: "base", 1024: "large"}
SWINS = {(96, 6): "tiny", (96, 18): "small", (128, 18): "base"}
TOLERANCE = 1e-4  # of the greatest difference, over the greatest feature
# arguments of the architectures that are named below; what differs is an argument of create_model
DEFAULTS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": dict(embed_dim=192, depth=12, num_heads=3),
    "vit_small_patch16_224": dict(embed_dim=384, depth=12, num_heads=6),
    "vit_base_patch16_224": dict(embed_dim=768, depth=12, num_heads=12),
    "vit_large_patch16_224": dict(embed_dim=1024, depth=24, num_heads=16),
    "beit_base_patch16_224": dict(embed_dim=768, depth=12, num_heads=12),
    "beit_large_patch16_224": dict(embed_dim=1024, depth=24, num_heads=16),
    "swin_tiny_patch4_window7_224": dict(
        embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)
    ),
    "swin_small_patch4_window7_224": dict(
        embed_dim=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)
    ),
    "swin_base_patch4_window7_224": dict(
        embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)
    ),
}
COMMON: dict[str, Any] = dict(img_size=224, patch_size=16, in_chans=3, mlp_ratio=4.0)


@dataclass(frozen=True)
class TimmModel:
    """An architecture of timm and weights for it.

    Attributes:
        name: for ``timm.create_model``.
        arguments: what it needs beside the name.
        state: the weights.
        notes: what was folded, in words.
        unknown: arguments that neither the tensors nor a config tell.
    """

    name: str
    arguments: dict[str, Any]
    state: State
    notes: list[str] = field(default_factory=list)
    unknown: tuple[str, ...] = ()

    def call(self, path: str | Path) -> str:
        """The line of Python that builds the model with the weights."""
        words = "".join(f", {key}={value!r}" for key, value in self.arguments.items())
        return f"timm.create_model('{self.name}'{words}, checkpoint_path='{path}')"

    def build(self) -> nn.Module:
        """The model with its weights, in evaluation mode."""
        import timm

        check_no_weights("The description", self.arguments)
        model: nn.Module = timm.create_model(self.name, **self.arguments)
        model.load_state_dict(self.state, strict=True)
        return model.eval()


def _arguments(name: str, sizes: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the named architecture, and what timm must be told anyway."""
    usual = {**COMMON, **DEFAULTS[name]}
    if name.startswith("swin"):
        usual |= dict(patch_size=4, window_size=7)
    differing = {key: value for key, value in sizes.items() if value != usual[key]}
    return {**differing, **more}


def _depth(state: Mapping[str, Tensor]) -> int:
    found = [re.match(r"encoder\.blocks\.(\d+)\.", key) for key in state]
    return 1 + max(int(match[1]) for match in found if match)


def _separate_biases(state: State, depth: int) -> tuple[State, list[str]]:
    """'qkv' biases or none -> those of queries and values.

    A bias of keys adds the same number to all logits of a query, which softmax does not see.
    """
    state, notes = dict(state), []
    for i in range(depth):
        front = BLOCK.format(i) + "attn."
        if front + "q_bias" in state:
            continue
        width = state[front + "qkv.weight"].shape[1]
        bias = state.pop(front + "qkv.bias", None)
        notes = ["biases of keys, which change no attention, are left out"]
        if bias is None:
            bias, notes = state[front + "qkv.weight"].new_zeros(3 * width), ["biases are zeros"]
        state[front + "q_bias"] = bias[:width].clone()
        state[front + "v_bias"] = bias[2 * width :].clone()
    return state, notes


def _joined_biases(state: State, depth: int) -> tuple[State, list[str]]:
    """Biases of queries and values -> one of queries, keys (zeros) and values."""
    state, notes = dict(state), []
    for i in range(depth):
        front = BLOCK.format(i) + "attn."
        if front + "q_bias" in state:
            queries, values = state.pop(front + "q_bias"), state.pop(front + "v_bias")
            state[front + "qkv.bias"] = torch.cat([queries, torch.zeros_like(queries), values])
            notes = ["biases of queries and values became one, with zeros for keys"]
    return state, notes


def _registers(state: State) -> tuple[State, list[str]]:
    """Named prefix tokens -> timm's register tokens, which have rows in the position table."""
    front = "encoder.prefix_tokens."
    names = [key for key in state if key.startswith(front)]
    if not names:
        return state, []
    state = dict(state)
    tokens = torch.cat([state.pop(name) for name in names], dim=1)
    table = state.get("encoder.pos_embed")
    if table is not None:
        rows = torch.zeros_like(tokens)
        state["encoder.pos_embed"] = torch.cat([table[:, :1], rows, table[:, 1:]], dim=1)
    state["reg_token"] = tokens
    words = ", ".join(name.removeprefix(front) for name in names)
    return state, [f"prefix tokens ({words}) became register tokens"]


def _without_pretraining(state: Mapping[str, Tensor]) -> State:
    dropped = ("encoder.mask_token", "encoder.unknown_position")
    return {key: tensor for key, tensor in state.items() if not key.startswith(dropped)}


def _image_size(
    settings: Mapping[str, Any] | None, given: Size | None, side: float, patch: int
) -> dict[str, Any]:
    """``img_size``: from the config, the user or a square table; empty where nothing tells."""
    size: Any = given
    if settings is not None:
        size = settings.get("image_size", 224)
    elif size is None and side == int(side):
        size = int(side) * patch
    if size is None:
        return {}
    size = (size, size) if isinstance(size, int) else tuple(size)
    return {"img_size": size[0] if size[0] == size[1] else size}


def _sizes(state: State, settings: Mapping[str, Any] | None, heads: int | None) -> dict[str, Any]:
    """Arguments that the tensors tell, of a plain ViT or BEiT."""
    projection = state["encoder.patch_embed.proj.weight"]
    hidden = state[BLOCK.format(0) + "mlp.fc1.weight"]
    sizes = dict(
        patch_size=projection.shape[-1],
        in_chans=projection.shape[1],
        embed_dim=projection.shape[0],
        depth=_depth(state),
        mlp_ratio=hidden.shape[0] / hidden.shape[1],
    )
    if heads is not None:
        sizes["num_heads"] = heads
    elif settings is not None:
        sizes["num_heads"] = architecture(settings.get("arch", "base"))["num_heads"]
    if settings is not None and settings.get("norm_eps", 1e-6) != 1e-6:
        raise CheckpointError(
            f"timm's models have layer norms with an epsilon of 1e-6, this encoder "
            f"{settings['norm_eps']}: use --format safetensors or onnx."
        )
    return sizes


def _plain(
    state: State, settings: Mapping[str, Any] | None, given: Size | None, readout: str
) -> TimmModel:
    sizes = _sizes(state, settings, None)
    state, notes = _joined_biases(state, sizes["depth"])
    state, more_notes = _registers(state)
    table = state.get("encoder.pos_embed")
    registers = state.pop("reg_token", None)
    more: dict[str, Any] = dict(num_classes=_classes(state), **_pooling(state, readout, "fc_norm"))
    prefix = 1
    if registers is not None:
        more["reg_tokens"] = registers.shape[1]
        prefix += registers.shape[1]
    if BLOCK.format(0) + "ls1.gamma" in state:
        more["init_values"] = 1e-5  # only its being there matters
    if BLOCK.format(0) + "attn.qkv.bias" not in state:
        more["qkv_bias"] = False
    if table is None:
        more["pos_embed"] = "none"
    patch = sizes["patch_size"]
    side = 224 // patch if table is None else (table.shape[1] - prefix) ** 0.5
    sizes |= _image_size(settings, given, side, patch)
    name = f"vit_{NAMES.get(sizes['embed_dim'], 'base')}_patch16_224"
    theirs = FORMATS["timm"].export_state(state, {})
    if registers is not None:
        theirs["reg_token"] = registers
    unknown = tuple(key for key in ("num_heads", "img_size") if key not in sizes)
    return TimmModel(name, _arguments(name, sizes, more), theirs, notes + more_notes, unknown)


def _beit(
    state: State, settings: Mapping[str, Any] | None, given: Size | None, readout: str
) -> TimmModel:
    if any(key.startswith("encoder.prefix_tokens.") for key in state):
        raise CheckpointError(
            "timm's BEiT has no extra tokens beside the class token: use --format safetensors or "
            "onnx."
        )
    norm = {key: x for key, x in state.items() if key.startswith(("encoder.norm.", "fc_norm."))}
    others = {key: x for key, x in state.items() if not key.startswith("encoder.")}
    notes = []
    if SHARED_TABLE in state:
        notes.append("the shared bias table was copied to every block")
    state = {**table_a_block(state), **norm, **others}
    tables = {key: x for key, x in state.items() if key.endswith("relative_position_bias_table")}
    rows, heads = next(iter(tables.values())).shape
    sizes = _sizes(state, settings, heads)
    grid = square_grid(rows)
    sizes |= _image_size(settings, given, grid[0] if grid else 0.5, sizes["patch_size"])
    state, more_notes = _fitted_tables(state, tables, settings, sizes)
    notes += more_notes
    state, more_notes = _separate_biases(state, sizes["depth"])
    notes += more_notes
    more: dict[str, Any] = dict(
        num_classes=_classes(state), **_pooling(state, readout, "use_fc_norm")
    )
    if "encoder.pos_embed" in state:
        more["use_abs_pos_emb"] = True
    if BLOCK.format(0) + "ls1.gamma" not in state:
        more["init_values"] = 0  # None would be the architecture's own
    name = f"beit_{'large' if sizes['embed_dim'] == 1024 else 'base'}_patch16_224"
    theirs = FORMATS["beit"].export_state(state, {})
    unknown = () if "img_size" in sizes else ("img_size",)
    return TimmModel(name, _arguments(name, sizes, more), theirs, notes, unknown)


def _fitted_tables(
    state: State, tables: State, settings: Mapping[str, Any] | None, sizes: Mapping[str, Any]
) -> tuple[State, list[str]]:
    """Bias tables of windows at the size of the image, as our encoder resizes them there."""
    if settings is None:
        return state, []
    size, patch = sizes["img_size"], sizes["patch_size"]
    size = (size, size) if isinstance(size, int) else size
    grid = (size[0] // patch, size[1] // patch)
    own = settings.get("relative_grid") or grid
    own = (own, own) if isinstance(own, int) else tuple(own)
    if own == grid or any(len(table) != bias_rows(own) for table in tables.values()):
        return state, []
    resized = {key: resized_table(table, own, grid) for key, table in tables.items()}
    return {**state, **resized}, [f"bias tables for {own} were resized to the image's {grid}"]


def _swin(state: State, settings: Mapping[str, Any] | None, given: Size | None) -> TimmModel:
    depths: list[int] = []
    heads: list[int] = []
    while f"encoder.layers.{len(depths)}.blocks.0.norm1.weight" in state:
        front = f"encoder.layers.{len(depths)}.blocks."
        depths.append(sum(bool(re.fullmatch(re.escape(front) + r"\d+\.norm1\.weight", key))
                          for key in state))  # fmt: skip
        table = state[front + "0.attn.relative_position_bias_table"]
        heads.append(table.shape[1])
    projection = state["encoder.patch_embed.proj.weight"]
    hidden = state["encoder.layers.0.blocks.0.mlp.fc1.weight"]
    sizes = dict(
        _image_size(settings, given or (224, 224), 0, 0),
        patch_size=projection.shape[-1],
        in_chans=projection.shape[1],
        window_size=(round(table.shape[0] ** 0.5) + 1) // 2,
        embed_dim=projection.shape[0],
        depths=tuple(depths),
        num_heads=tuple(heads),
        mlp_ratio=hidden.shape[0] / hidden.shape[1],
    )
    third = depths[2] if len(depths) > 2 else 0
    name = f"swin_{SWINS.get((projection.shape[0], third), 'tiny')}_patch4_window7_224"
    if "head.weight" in state:  # the official file's; timm has it inside a module of pooling
        state = {re.sub(r"^head\.", "head.fc.", key): tensor for key, tensor in state.items()}
    more = dict(num_classes=_classes(state, "head.fc.weight"))
    theirs = FORMATS["timm-swin"].export_state(state, {})
    return TimmModel(name, _arguments(name, sizes, more), theirs)


def _classes(state: Mapping[str, Tensor], name: str = "head.weight") -> int:
    return state[name].shape[0] if name in state else 0


def _pooling(state: Mapping[str, Tensor], readout: str, switch: str) -> dict[str, Any]:
    """What timm's classifier reads; ``switch``: its argument for a norm after the pooling."""
    if any(key.startswith("fc_norm.") for key in state):
        return {"global_pool": "avg"}
    if "head.weight" not in state or readout == "cls":
        return {"global_pool": "token"}
    if readout == "mean":
        return {"global_pool": "avg", switch: False}
    raise CheckpointError(
        f"timm's classifiers read the class token or a mean, not '{readout}': use --encoder-only."
    )


def as_timm(
    state: Mapping[str, Tensor],
    settings: Mapping[str, Any] | None = None,
    image_size: Size | None = None,
    readout: str = "cls",
) -> TimmModel:
    """The model of timm that has the features of an encoder.

    Args:
        state: with this package's names, the encoder's behind ``encoder.``; ``head.`` and
            ``fc_norm.`` of an imported classifier are kept.
        settings: config of the encoder, where it is known.
        image_size: (height, width) in pixels where the config is not known; None: that of a square
            table, or 224.
        readout: what a classifier's head reads where there is no ``fc_norm``.

    Raises:
        CheckpointError: timm has no such architecture, or no name for a tensor.
    """
    own = _without_pretraining(state)
    if any("attn.rpe_k." in key for key in own):
        raise CheckpointError(
            "No architecture of timm has contextual relative positions (iRPE: "
            "attn.rpe_k.lookup_table_weight)."
        )
    if "encoder.layers.0.blocks.0.norm1.weight" in own:
        return _swin(own, settings, image_size)
    if any(key.endswith("relative_position_bias_table") for key in own):
        return _beit(own, settings, image_size, readout)
    if BLOCK.format(0) + "attn.qkv.weight" not in own:
        raise CheckpointError("The checkpoint holds no encoder of this package (encoder.*).")
    return _plain(own, settings, image_size, readout)


@torch.no_grad()
def greatest_difference(encoder: nn.Module, model: nn.Module, size: tuple[int, int]) -> float:
    """The greatest difference of features of our encoder and timm's, over the greatest feature.

    Args:
        encoder: ours.
        model: timm's.
        size: (height, width) of the images in pixels.
    """
    generator = torch.Generator().manual_seed(0)
    channels = backbone_in(encoder).spec.in_channels
    images = torch.randn(2, channels, *size, generator=generator)
    encoded: Encoded = encoder.eval()(images)
    theirs = model.forward_features(images)  # type: ignore[operator]
    ours = encoded.patches if encoded.tokens is None else encoded.tokens
    error = (theirs.reshape(ours.shape) - ours).abs().max() / ours.abs().max()
    return float(error)
