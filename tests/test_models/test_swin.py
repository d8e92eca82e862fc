"""Swin Transformer against timm's and mmdet's on the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from torch import Tensor

from mmvitssl.checkpoint.formats import FORMATS
from mmvitssl.models.backbones import SwinTransformer
from mmvitssl.structures import TokenPlan

ARCH = dict(embed_dim=16, depths=(2, 2, 2), num_heads=(2, 4, 8))


def build(**settings: Any) -> SwinTransformer:
    torch.manual_seed(0)
    model = SwinTransformer(**{"arch": ARCH, "window_size": 4, "image_size": 64, **settings})
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def counted(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_swin_t_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        assert counted(SwinTransformer("tiny")) == 27_519_354


# the maps are 16, 8, 4: whole windows, the last no larger than one; 32, 16, 8 all shift
@pytest.mark.parametrize("size", [64, 128, (64, 128)])
def test_equals_timm(size: int | tuple[int, int]) -> None:
    ours = build(image_size=size)
    theirs = TimmSwin(
        img_size=size, patch_size=4, embed_dim=16, depths=(2, 2, 2), num_heads=(2, 4, 8),
        window_size=4, num_classes=0,
    ).eval()  # fmt: skip
    theirs.load_state_dict(ours.state_dict())
    height, width = (size, size) if isinstance(size, int) else size
    images = torch.randn(2, 3, height, width)
    encoded = ours(images, levels=(0, 1, 2))
    expected, maps = theirs.forward_intermediates(images)
    for level, feature in enumerate(maps):
        torch.testing.assert_close(encoded.hierarchy[level], feature, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoded.patches, expected.flatten(1, 2), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoded.cls, theirs(images), atol=1e-5, rtol=1e-4)
    assert encoded.grid == ours.grid


def mmdet_swin(ours: SwinTransformer) -> torch.nn.Module:
    from mmdet.models.backbones import SwinTransformer as MMDetSwin

    theirs = MMDetSwin(
        embed_dims=16, patch_size=4, window_size=4, depths=(2, 2, 2), num_heads=(2, 4, 8),
        strides=(4, 2, 2), out_indices=(0, 1, 2),
    )  # fmt: skip
    theirs.eval()  # mmdet's returns nothing
    state = {f"encoder.{key}": value for key, value in ours.state_dict().items()}
    state = FORMATS["mmdet-swin"].export_state(state, whole=False)
    state = {key.removeprefix("backbone."): value for key, value in state.items()}
    own = theirs.state_dict()
    fresh = {key: value for key, value in own.items() if key.startswith("norm")}  # ones and zeros
    theirs.load_state_dict({**fresh, **state}, strict=True)
    return theirs


@pytest.mark.parametrize("size", [(128, 128), (96, 160), (101, 143)])
def test_equals_mmdet_at_any_size(size: tuple[int, int]) -> None:
    ours = build()
    images = torch.randn(2, 3, *size)
    maps = ours.forward_levels(images, (0, 1, 2))
    for level, feature in enumerate(mmdet_swin(ours)(images)):
        normed = torch.nn.functional.layer_norm(
            maps[level].permute(0, 2, 3, 1), maps[level].shape[1:2]
        )
        torch.testing.assert_close(normed.permute(0, 3, 1, 2), feature, atol=2e-5, rtol=1e-4)


def test_levels_stop_early_and_agree() -> None:
    model, images = build(), torch.randn(1, 3, 64, 64)
    ran: list[int] = []
    for i, stage in enumerate(model.layers):
        stage.blocks[0].register_forward_hook(lambda *_, i=i: ran.append(i))
    some = model.forward_levels(images, (0, 1))
    assert ran == [0, 1]
    every = model(images, levels=(0, 1, 2)).hierarchy
    assert all(torch.equal(some[level], every[level]) for level in (0, 1))
    assert [tuple(m.shape) for m in every.values()] == [
        (1, 16, 16, 16), (1, 32, 8, 8), (1, 64, 4, 4)
    ]  # fmt: skip


def test_what_a_swin_transformer_cannot_do() -> None:
    model = build()
    with pytest.raises(ValueError, match="leaves patches out"):
        model(torch.randn(1, 3, 64, 64), TokenPlan(tokens=torch.arange(4)[None]))
    with pytest.raises(ValueError, match=r"stages 0\.\.2"):
        model(torch.randn(1, 3, 64, 64), levels=(3,))
    for arch in ("giant", dict(embed_dim=8), dict(embed_dim=8, depths=(1,), num_heads=(1, 2))):
        with pytest.raises(ValueError, match=r"SwinTransformer\.arch"):
            SwinTransformer(arch)
    with pytest.raises(ValueError, match="do not divide"):
        SwinTransformer(dict(embed_dim=10, depths=(1,), num_heads=(3,)))


def test_gradients_checkpointing_and_compilation() -> None:
    model, images = build(drop_path=0.0).train(), torch.randn(2, 3, 64, 64)
    model(images, levels=(0, 1, 2)).cls.sum().backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    assert set(grads) == {name for name, _ in model.named_parameters()}
    model.zero_grad()
    model.gradient_checkpointing = True
    model(images).cls.sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, grads[name])
    expected = model.eval()(images).cls
    model.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(model(images).cls, expected)


def test_layers_for_learning_rate_decay() -> None:
    model = SwinTransformer("tiny")
    depth = {name: model.get_layer_depth(name) for name, _ in model.named_parameters()}
    assert depth["patch_embed.proj.weight"] == (0, 14)
    assert depth["layers.0.blocks.1.norm1.weight"] == (2, 14)
    assert depth["layers.2.downsample.reduction.weight"] == (5, 14)
    assert depth["layers.3.blocks.1.mlp.fc2.bias"] == (12, 14)
    assert depth["norm.weight"] == (13, 14)


def test_tables_fit_another_window() -> None:
    small, large = build(window_size=4), build(window_size=7)
    state, notes = large.adapt_state(small.state_dict())
    large.load_state_dict(state)
    assert notes == ["6 bias tables to windows of 7 (bicubic)"]

    def table(model: SwinTransformer) -> Tensor:
        return model.state_dict()["layers.0.blocks.0.attn.relative_position_bias_table"]

    assert table(large).shape == (169, 2)
    assert table(large)[84] == pytest.approx(table(small)[24], rel=0.35)  # no offset
