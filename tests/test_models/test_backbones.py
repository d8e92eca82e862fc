"""Every backbone, of this package and of timm, through everything that its spec allows."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmvitssl.checkpoint import CheckpointError, load_encoder
from mmvitssl.evaluation.features import encode_features, readout_width
from mmvitssl.models.algorithms.pretrainer import Pretrainer, draw_pictures
from mmvitssl.models.backbones import DenseFeatures, TimmBackbone
from mmvitssl.models.backbones.contract import (
    Backbone,
    BackboneModule,
    BackboneSpec,
    backbone_in,
    check_backbone,
)
from mmvitssl.registry import MODELS
from tests.builders import make_samples, make_views
from tests.marks import some

SIDE = 64


def timm_config(model: str, **model_args: Any) -> dict[str, Any]:
    return dict(type="TimmBackbone", model=model, image_size=SIDE, model_args=model_args)


BACKBONES: dict[str, dict[str, Any]] = {
    "vit": dict(type="ViT", arch=dict(embed_dim=32, depth=4, num_heads=2), image_size=SIDE,
                patch_size=16, prefix_tokens=("extra",)),
    "swin": dict(type="SwinTransformer", image_size=SIDE, window_size=2,
                 arch=dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8))),
    "convnext": timm_config("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)),
    "resnet": timm_config("resnet18", layers=(1, 1, 1, 1), channels=(8, 16, 24, 32)),
    "hiera": timm_config("hiera_tiny_224", embed_dim=16, num_heads=1, stages=(1, 1, 2, 1)),
    "dinov2": timm_config("vit_small_patch14_reg4_dinov2", patch_size=16, embed_dim=32, depth=4,
                          num_heads=2),
    "eva": timm_config("eva02_tiny_patch14_224", patch_size=16, embed_dim=32, depth=4,
                       num_heads=2),
}  # fmt: skip
every = pytest.mark.parametrize("name", BACKBONES)


def build(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return check_backbone(MODELS.build({**copy.deepcopy(BACKBONES[name]), **changes}))


def levels_of(spec: BackboneSpec) -> tuple[int, ...]:
    return tuple(range(spec.depth))[-4:]


def pretrainer(name: str, **tasks: Any) -> Pretrainer:
    """MoCo v3 and RePre on a backbone, whatever its sizes."""
    levels = levels_of(build(name).spec)
    mlp = dict(type="ProjectionMLP", hidden_channels=16, out_channels=8)
    default = dict(
        contrast=dict(
            type="Contrastive",
            projector=dict(mlp),
            predictor=dict(mlp, num_layers=2),
            head=dict(type="InfoNCE", temperature=0.2),
        ),
        reconstruction=dict(
            type="Reconstruction",
            levels=levels,
            neck=dict(type="MultiHierarchyFusion", width=8),
            head=dict(type="PixelLoss"),
        ),
    )
    return MODELS.build(dict(
        type="Pretrainer", encoder=copy.deepcopy(BACKBONES[name]), tasks=tasks or default,
        target=None if tasks else dict(momentum=0.9),
    ))  # fmt: skip


def views(batch: int = 4) -> list[Any]:
    torch.manual_seed(1)
    return make_views(2, batch, (SIDE, SIDE))


@every
def test_the_spec_is_true(name: str) -> None:
    encoder, images = build(name).eval(), torch.randn(2, 3, SIDE, SIDE)
    spec, levels = encoder.spec, tuple(range(encoder.spec.depth))
    with torch.no_grad():
        encoded = encoder(images, levels=levels)
        alone = encoder.forward_levels(images, levels)
    assert encoded.cls.shape == (2, spec.embed_dim)
    assert encoded.grid == spec.grid == encoder.grid_of((SIDE, SIDE))
    assert encoded.patches.shape == (2, spec.grid[0] * spec.grid[1], spec.embed_dim)
    assert tuple(encoded.prefix) == spec.prefix_tokens
    for level in levels:
        features, channels = encoded.hierarchy[level], spec.level_channels[level]
        torch.testing.assert_close(alone[level], features)
        assert encoded.level_cls[level].shape == (2, channels)
        side = SIDE // spec.level_strides[level]
        shape = (2, side * side, channels) if features.ndim == 3 else (2, channels, side, side)
        assert features.shape == shape
    for parameter, _ in encoder.named_parameters():
        layer, number = encoder.get_layer_depth(parameter)
        assert 0 <= layer < number


@every
def test_contrast_and_reconstruction_reach_all_parameters(name: str, tmp_path: Path) -> None:
    model = pretrainer(name)
    logs = model(views(), make_samples())
    total = sum(value for key, value in logs.items() if key.startswith("loss_"))
    total.backward()
    missing = [key for key, p in model.encoder.named_parameters()
               if p.requires_grad and p.grad is None]  # fmt: skip
    assert not missing and torch.isfinite(total)
    before = copy.deepcopy(model.target["encoder"].state_dict())
    with torch.no_grad():
        next(model.encoder.parameters()).add_(1.0)
    model.update_target(0.0)
    after = model.target["encoder"].state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    pixels = [(view.pixels * 255).byte() for view in views()]
    pictures = draw_pictures(model, {"views": pixels, "samples": make_samples()})
    assert pictures["reconstruction"]["reconstruction"].shape == (4, 3, SIDE, SIDE)

    path = tmp_path / "pretrained.pth"
    torch.save({"state_dict": model.state_dict()}, path)
    fresh = build(name)
    for source, expected in (("online", model.encoder), ("target", model.target["encoder"])):
        load_encoder(fresh, path, source, log=lambda text: None)
        for key, value in expected.state_dict().items():
            assert torch.equal(fresh.state_dict()[key], value), key
    state = {f"encoder.{key}": value for key, value in model.encoder.state_dict().items()}
    gone = next(key for key in state if "norm" in key or "bn" in key)
    torch.save({"state_dict": {k: v for k, v in state.items() if k != gone}}, path)
    with pytest.raises(CheckpointError, match=gone.removeprefix("encoder.")):
        load_encoder(fresh, path)


@pytest.mark.parametrize("name", some(BACKBONES, lambda name: name in ("vit", "swin", "resnet")))
def test_every_readout_also_of_a_compiled_encoder(name: str) -> None:
    encoder, images = build(name).eval(), torch.randn(2, 3, SIDE, SIDE)
    spec = encoder.spec
    readouts = ["cls", "mean", "cls+mean", "cls-last4", "blocks"]
    readouts += [f"token:{token}" for token in spec.prefix_tokens]
    with torch.no_grad():
        expected = {readout: encode_features(encoder, images, readout) for readout in readouts}
        encoder.compile(backend="eager")
        encoder(images)
        for readout, values in expected.items():
            assert values.shape[-1] == readout_width(spec, readout)
            again = encode_features(encoder, images, readout)
            torch.testing.assert_close(again, values, atol=1e-5, rtol=1e-4)
    assert expected["blocks"].shape[1] == spec.depth
    last = expected["cls-last4"][:, -spec.embed_dim :]
    if spec.has_class_token:  # the last level after the final norm is the class token
        torch.testing.assert_close(last, expected["cls"])


@every
def test_a_classifier_reads_it(name: str) -> None:
    spec = build(name).spec
    for readout, head in (
        ("cls-last4", dict(type="LinearHead")),
        ("blocks", dict(type="BlockwiseLinearHead", num_blocks=spec.depth)),
        ("cls", dict(type="AttentiveHead", num_heads=2)),
    ):
        model: Any = MODELS.build(dict(
            type="ImageClassifier", encoder=copy.deepcopy(BACKBONES[name]), readout=readout,
            head=dict(head, num_classes=3), frozen=True,
        ))  # fmt: skip
        labels = {**make_samples(), "label": torch.tensor([0, 1, 2, 0])}
        model(labels, views())["loss"].backward()
        assert all(p.grad is None for p in model.encoder.parameters())
        assert all(p.grad is not None for p in model.head.parameters())


@every
def test_masked_tasks_refuse_what_cannot_mask(name: str) -> None:
    spec = build(name).spec
    task = dict(
        type="MaskedModeling",
        masking=dict(type="RandomMasking", ratio=0.5, mode="drop"),
        neck=dict(type="MAEDecoder", width=32, depth=1, num_heads=2),
        target=dict(type="PixelTarget"),
        head=dict(type="PixelLoss"),
    )
    if spec.can_mask:
        assert torch.isfinite(pretrainer(name, masked=task)(views(), make_samples())["loss_masked"])
        return
    words = f"{BACKBONES[name]['type']} cannot leave patches out"
    with pytest.raises(ValueError, match=words):
        pretrainer(name, masked=task)


@every
def test_gradient_checkpointing_changes_no_gradient(name: str) -> None:
    images, gradients = torch.randn(2, 3, SIDE, SIDE), []
    for recompute in (False, True):
        encoder = build(name, gradient_checkpointing=recompute).train()
        encoder(images, levels=(1,)).patches.square().mean().backward()
        gradients.append({
            key: p.grad for key, p in encoder.named_parameters() if p.grad is not None
        })  # fmt: skip
    assert gradients[0].keys() == gradients[1].keys()
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, atol=1e-5, rtol=1e-4)


@every
def test_maps_for_dense_predictors(name: str) -> None:
    spec = build(name).spec
    levels = levels_of(spec)[:-1]
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        dense = DenseFeatures(copy.deepcopy(BACKBONES[name]), levels)
    maps = dense(torch.randn(1, 3, SIDE, SIDE))
    for one, level in zip(maps, levels, strict=True):
        side = SIDE // spec.level_strides[level]
        assert one.shape == (1, spec.level_channels[level], side, side) and one.is_contiguous()
    sum(one.square().mean() for one in maps).backward()  # type: ignore[union-attr]
    for key, parameter in dense.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), key
    if name == "hiera":
        with pytest.raises(ValueError, match="takes images of 64x64 pixels only, not 64x96"):
            dense(torch.randn(1, 3, SIDE, 96))
    else:
        assert dense(torch.randn(1, 3, SIDE + 7, 96))[0].shape[0] == 1


@every
def test_units_hold_most_parameters_and_are_called(name: str) -> None:
    encoder, called = build(name), set[nn.Module]()
    for unit in encoder.units():
        unit.register_forward_hook(lambda module, inputs, output: called.add(module))
    encoder(torch.randn(1, 3, SIDE, SIDE))
    assert called == set(encoder.units()) != set()


def test_official_files_of_timm_are_read(tmp_path: Path) -> None:
    name = "convnext"
    encoder = build(name)
    assert isinstance(encoder, TimmBackbone)
    official = {key: torch.randn_like(value) * 0.1 for key, value in
                encoder.model.state_dict().items()}  # fmt: skip
    official |= {"head.fc.weight": torch.zeros(5, 32), "head.fc.bias": torch.zeros(5)}
    torch.save(official, tmp_path / "timm.pth")
    load_encoder(encoder, tmp_path / "timm.pth", log=lambda text: None)
    assert torch.equal(encoder.state_dict()["model.stem.0.weight"], official["stem.0.weight"])
    grey = build(name, in_channels=1)
    load_encoder(grey, tmp_path / "timm.pth", log=lambda text: None)
    summed = official["stem.0.weight"].sum(dim=1, keepdim=True)
    torch.testing.assert_close(grey.state_dict()["model.stem.0.weight"], summed)


def test_what_is_no_model_of_timm_is_named() -> None:
    with pytest.raises(ValueError, match="'convnext_tinny' is no model of timm .* convnext_atto"):
        TimmBackbone("convnext_tinny")


def test_everything_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(TypeError, match=r"Linear is no backbone; it lacks: spec.*forward_levels\(\)"
                       r"; grid_of\(\).*units\(\); optional_state"):  # fmt: skip
        check_backbone(nn.Linear(2, 2))

    class Half(BackboneModule):
        def __init__(self) -> None:
            super().__init__()
            self.spec = BackboneSpec(4, 1, 8, (8, 8), (4,), (8,), can_hide_positions=True)

        def forward(self, images: Tensor, plan: None = None) -> Tensor:
            return images

    with pytest.raises(TypeError, match="arguments levels, norm_levels, unplaced of forward"):
        check_backbone(Half())
    with pytest.raises(ValueError, match="level_strides=.8, 4. must have one number for each"):
        BackboneSpec(4, 1, 8, (8, 8), (4,), (8, 4))
    assert isinstance(build("vit"), Backbone) and backbone_in(pretrainer("vit")) is not None


@every
def test_levels_of_a_compiled_encoder_may_change_between_calls(name: str) -> None:
    """torch takes numbers that change for unknown ones, and ``3 in (unknown,)`` for false."""
    encoder, images = build(name).eval(), torch.randn(2, 3, SIDE, SIDE)
    has_attention = encoder.spec.has_attention
    calls = [
        {"levels": (level,), **({"attention": (level,)} if has_attention else {})}
        for level in range(3)
    ]
    with torch.no_grad():
        expected = [encoder(images, **call) for call in calls]
        encoder.compile(backend="eager")
        found = [encoder(images, **call) for call in calls]
    for level, (one, other) in enumerate(zip(expected, found, strict=True)):
        torch.testing.assert_close(other.hierarchy[level], one.hierarchy[level])
        if has_attention:
            assert one.attention[level].shape == (2, 2, 18, 18)
            torch.testing.assert_close(one.attention[level].sum(dim=-1), torch.ones(2, 2, 18))
            torch.testing.assert_close(other.attention[level], one.attention[level])
