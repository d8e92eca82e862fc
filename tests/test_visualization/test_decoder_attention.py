"""Maps of what decoders read: rows of attention that sum to 1, in the places of the patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.registry import MODELS
from mmvitssl.visualization.decoder_attention import decoder_maps, influence
from mmvitssl.visualization.decoder_sheet import chosen_layers, draw_decoder_maps
from tests.builders import ENCODER, RECONSTRUCTION

GRID, ENCODER_4 = (4, 6), {**ENCODER, "freeze_patch_embed": False}
PIXELS = dict(target=dict(type="PixelTarget"), head=dict(type="PixelLoss", distance="l2"))
REPLACING = {**ENCODER_4, "mask_token": True}
TASKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mae": (
        ENCODER_4,
        dict(type="MaskedModeling", masking=dict(type="RandomMasking", ratio=0.75),
             neck=dict(type="MAEDecoder", width=16, depth=3, num_heads=2), **PIXELS),
    ),
    "simmim": (
        REPLACING,
        dict(type="MaskedModeling", masking=dict(type="RandomMasking", ratio=0.5, mode="replace"),
             neck=dict(type="TokenPredictor"), **PIXELS),
    ),
    "lomar": (
        REPLACING,
        dict(type="MaskedModeling",
             masking=dict(type="WindowMasking", window=3, views=2, ratio=0.7),
             neck=dict(type="TokenPredictor"), **PIXELS),
    ),
    "cae": (
        ENCODER_4,
        dict(type="ContextAutoencoding",
             masking=dict(type="BlockMasking", num_masked=12, min_block=2, exact=True, mode="drop"),
             regressor=dict(type="ContextRegressor", depth=2),
             decoder=dict(type="ContextDecoder", depth=1), **PIXELS),
    ),
    "repre": (ENCODER_4, RECONSTRUCTION),
    "transformer": (
        ENCODER_4, {**RECONSTRUCTION, "neck": {**RECONSTRUCTION["neck"], "fusion": "transformer",
                                               "width": 32}},
    ),
}  # fmt: skip


def build(name: str) -> Pretrainer:
    encoder, task = TASKS[name]
    torch.manual_seed(0)
    model = MODELS.build(dict(type="Pretrainer", encoder=encoder, tasks=dict(one=task)))
    return model.eval()


def batch(number: int = 3) -> dict[str, Any]:
    torch.manual_seed(1)
    views = [torch.randint(0, 256, (number, 3, 32, 48), dtype=torch.uint8)]
    index = torch.arange(number)
    return {"views": views, "samples": {"index": index, "epoch": torch.zeros_like(index)}}


@pytest.mark.parametrize("name", [name for name in TASKS if name != "repre"])
def test_what_a_patch_attends_to_sums_to_one_over_what_it_may_read(name: str) -> None:
    model = build(name)
    maps = decoder_maps(model, batch(), (1, 2))["one"]
    assert maps.picture.shape == (3, 3, 32, 48)
    assert all(values.shape == (3, *GRID) for values in maps.maps.values())
    for layer, values in maps.maps.items():
        total = values.nan_to_num().sum(dim=(1, 2))
        # the class token, which is no patch, has the rest
        assert (total <= 1.0001).all() and (total > 0.5).all(), layer
    read = {layer: (~values.isnan()).sum(dim=(1, 2)).tolist()
            for layer, values in maps.maps.items()}  # fmt: skip
    expected = {"mae": 24, "simmim": 24, "lomar": 9, "transformer": 24, "cae": 24}[name]
    for layer, number in read.items():
        assert number == [12 if layer == "decoder block 0" and name == "cae" else expected] * 3
    if name == "cae":
        assert list(maps.maps) == ["regressor block 0", "regressor block 1", "decoder block 0"]


def test_the_predicted_patch_is_the_nearest_masked_one() -> None:
    model, data = build("mae"), batch()
    maps = decoder_maps(model, data, (0, 0))["one"]
    step = model.begin(**model.data_preprocessor(data, False))
    _, masked = model.tasks["one"].masks(step)
    for image, (row, column) in enumerate(maps.patches.tolist()):
        patches = masked.patch[masked.image == image]
        assert row * GRID[1] + column in patches.tolist()
        far = (patches // GRID[1]) ** 2 + (patches % GRID[1]) ** 2
        assert row**2 + column**2 == far.min()


def test_attention_is_what_the_decoder_weighs_values_with() -> None:
    """A value that only one key has reaches the output in proportion to its weight."""
    model, data = build("mae"), batch(1)
    decoder: Any = model.tasks["one"].neck
    seen: list[Tensor] = []
    attention = decoder.blocks[0].attn
    attention.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    maps = decoder_maps(model, data, (2, 2))["one"]
    step = model.begin(**model.data_preprocessor(data, False))
    plan, _ = model.tasks["one"].masks(step)
    order = torch.cat([plan.tokens, plan.dropped], dim=1)[0].tolist()
    row, column = maps.patches[0].tolist()
    place = 1 + order.index(row * GRID[1] + column)
    qkv = attention.qkv(seen[0]).view(1, 25, 3, 2, 8).permute(2, 0, 3, 1, 4)
    weights = (qkv[0] @ qkv[1].transpose(-2, -1) / 8**0.5).softmax(dim=-1)[0, :, place].mean(dim=0)
    found = maps.maps["decoder block 0"][0].flatten()
    torch.testing.assert_close(found[order], weights[1:].detach())


def test_a_convolutional_decoder_is_read_by_gradients() -> None:
    model = build("repre")
    maps = decoder_maps(model, batch(), (1, 4))["one"]
    assert list(maps.maps) == [f"gradient by level {level}" for level in range(4)]
    shallow, deep = maps.maps["gradient by level 0"], maps.maps["gradient by level 3"]
    assert maps.patches.tolist() == [[1, 4]] * 3
    # level 0 passes one fusion block of two 3x3 convolutions: nothing beyond two patches
    assert (shallow[:, :, :2] == 0).all() and (shallow[:, 1, 4] > 0).all()
    assert (deep > 0).sum() > (shallow > 0).sum()


def test_influence_is_the_gradient() -> None:
    neck = torch.nn.Conv2d(2, 3, 1, bias=False)
    level = torch.randn(1, 2, 4, 4)
    found = influence(lambda maps: neck(maps[0]), {7: level}, (1, 2), 1)[7]  # type: ignore[arg-type]
    expected = torch.zeros(1, 4, 4)
    expected[0, 1, 2] = neck.weight.sum(dim=0).norm()
    torch.testing.assert_close(found, expected)


def test_sheets_and_refusals(tmp_path: Path) -> None:
    maps = decoder_maps(build("lomar"), batch())["one"]
    lines: list[str] = []
    path = draw_decoder_maps(maps, tmp_path / "new" / "one.png", [0, -1], lines.append)
    assert Image.open(path).size[0] == 3 * 48 + 2 * 4
    assert lines[0].startswith("predicted patches") and lines[0].count(",") == 3 + 2 + 1
    assert chosen_layers([f"b{i}" for i in range(8)], None) == ["b1", "b3", "b5", "b7"]
    with pytest.raises(ValueError, match="Layer 9 does not exist: there are 4"):
        draw_decoder_maps(maps, tmp_path / "x.png", [9])
    with pytest.raises(ValueError, match="no patch 4,0: the grid has rows 0..3"):
        decoder_maps(build("mae"), batch(), (4, 0))
    swin = dict(type="SwinTransformer", arch=dict(embed_dim=12, depths=(1, 1), num_heads=(1, 2)),
                image_size=32, mask_token=True, window_size=2)  # fmt: skip
    task = {**TASKS["simmim"][1], "masking": dict(type="RandomMasking", ratio=0.5, mode="replace",
                                                   unit=1)}  # fmt: skip
    model = MODELS.build(dict(type="Pretrainer", encoder=swin, tasks=dict(one=task))).eval()
    data = batch(1)
    data["views"] = [data["views"][0][..., :32]]
    with pytest.raises(ValueError, match="SwinTransformer returns no attention"):
        decoder_maps(model, data)
