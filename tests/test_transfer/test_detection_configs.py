"""Full-size detection configs build, and their numbers are the published ones."""

from __future__ import annotations

from copy import copy
from functools import cache
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import TRANSFORMS, DefaultScope
from torch import nn

from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from mmvitssl.models.sizes import resolve_levels
from tests.test_transfer.small_detectors import COCO, DETECTION

VIT = "mask-rcnn_vit-{}_16xb2-1x_coco"
DET100 = "mask-rcnn_vitdet-{}_64xb1-100e_coco-1024px"
DET25 = "mask-rcnn_vitdet-{}_32xb2-25e_coco-1024px"
CASCADE = "cascade-mask-rcnn_vitdet-{}_64xb1-100e_coco-1024px"
SWIN = "{}mask-rcnn_swin-tiny_8xb2-{}x_coco"
SWINS = [SWIN.format(kind, epochs) for kind in ("", "cascade-") for epochs in (1, 3)]
CAE = "{}mask-rcnn_cae-vit-{}_16xb2-1x_coco"
CASCADE_VIT = "cascade-mask-rcnn_vit-{}_16xb2-1x_coco"
VITAE = [f"mask-rcnn_vitdet-{kind}-base_32xb2-25e_coco-1024px" for kind in ("vitae", "lomar")]
# what inherits a recipe and differs in its encoder or data: name -> the recipe
ALIKE = {
    **{CAE.format("", size): VIT.format(size) for size in ("small", "base", "large")},
    "mask-rcnn_deit-small_16xb2-1x_coco": VIT.format("small"),
    **{CASCADE_VIT.format(size): VIT.format(size) for size in ("base", "large")},
    **{CAE.format("cascade-", size): VIT.format(size) for size in ("base", "large")},
    **dict.fromkeys(VITAE, DET25.format("base")),
    "mask-rcnn_swin-tiny-800_8xb2-1x_coco": SWIN.format("", 1),
}
# learning rate, weight decay, layer decay, drop path, batch, levels
RECIPES = {
    VIT.format("small"): (3e-4, 0.05, 0.75, 0.1, 32, (3, 5, 7, 11)),
    VIT.format("base"): (3e-4, 0.05, 0.75, 0.2, 32, (3, 5, 7, 11)),
    VIT.format("large"): (2e-4, 0.05, 0.8, 0.2, 32, (7, 11, 15, 23)),
    VIT.format("base").replace("vit", "dinov2-vit"): (3e-4, 0.05, 0.75, 0.2, 32, (3, 5, 7, 11)),
    **{name.format("base"): (1e-4, 0.1, 0.7, 0.1, 64, (11,)) for name in (DET100, DET25, CASCADE)},
    DET25.format("base").replace("vit", "ijepa-vit"): (1e-4, 0.1, 0.7, 0.1, 64, (11,)),
    **{name.format("large"): (1e-4, 0.1, 0.8, 0.4, 64, (23,)) for name in (DET100, DET25, CASCADE)},
    **dict.fromkeys(SWINS, (0.0001, 0.05, None, 0.2, 16, (0, 1, 2, 3))),
}
P14 = {f"mask-rcnn_dinov2-{kind}vit-{size}-p14_16xb2-1x_coco": VIT.format(size)
       for kind in ("", "reg4-") for size in ("small", "base", "large")}  # fmt: skip
ALIKE.update(P14)
RECIPES.update({name: RECIPES[recipe] for name, recipe in ALIKE.items()})
# milestones, end, steps of the warm-up, whether they count epochs
SCHEDULES = {
    **{VIT.format(size): ([9, 11], 12, 500, True) for size in ("small", "base", "large")},
    VIT.format("base").replace("vit", "dinov2-vit"): ([9, 11], 12, 500, True),
    **{DET25.format(size): ([22, 24], 25, 250, True) for size in ("base", "large")},
    DET25.format("base").replace("vit", "ijepa-vit"): ([22, 24], 25, 250, True),
    **{
        name.format(size): ([163889, 177546], 184375, 250, False)
        for name in (DET100, CASCADE)
        for size in ("base", "large")
    },
    **{SWIN.format(kind, 1): ([8, 11], 12, 500, True) for kind in ("", "cascade-")},
    **{SWIN.format(kind, 3): ([27, 33], 36, 500, True) for kind in ("", "cascade-")},
}
SCHEDULES.update({name: SCHEDULES[recipe] for name, recipe in ALIKE.items()})
# millions; the published ones of Swin (48 and 86) and ViTDet (111 and 331) are rounded
SIZES = {
    SWIN.format("", 1): 48, SWIN.format("cascade-", 1): 86,
    DET100.format("base"): 111, DET100.format("large"): 331,
}  # fmt: skip


@cache
def read(name: str) -> Config:
    config = read_config(str(COCO / f"{name}.py"))
    launch.prepare_scope(config)
    return config


@cache
def build(name: str) -> nn.Module:
    """The model without memory for its weights."""
    with DefaultScope.overwrite_default_scope("mmdet"), torch.device("meta"):
        return ROOT_MODELS.build(read(name).model)


@cache
def groups(name: str) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of every trained parameter."""
    model = build(name)
    wrapper = copy(read(name).optim_wrapper)
    wrapper.type = "OptimWrapper"  # no mixed precision on CPUs
    with DefaultScope.overwrite_default_scope("mmdet"):
        optimizer = build_optim_wrapper(model, wrapper).optimizer
    names = {id(p): key for key, p in model.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


def trained(name: str) -> set[str]:
    return {key for key, p in build(name).named_parameters() if p.requires_grad}


def test_every_config_is_checked_here() -> None:
    assert {path.stem for path in DETECTION} == set(RECIPES) == set(SCHEDULES)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name: str) -> None:
    config = read(name)
    lr, weight_decay, layer_decay, drop_path, batch, levels = RECIPES[name]
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", lr, weight_decay)
    assert tuple(optimizer.betas) == (0.9, 0.999) and "clip_grad" not in config.optim_wrapper
    assert config.optim_wrapper.paramwise_cfg.get("decay_rate") == layer_decay
    assert config.model.backbone.encoder.drop_path == drop_path
    processes = int(name.split("_")[2].split("xb")[0])
    assert config.train_dataloader.batch_size * processes == batch
    assert config.auto_scale_lr.base_batch_size == batch
    assert resolve_levels("levels", config.model.backbone.levels, levels[-1] + 1) == levels


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name: str) -> None:
    config = read(name)
    milestones, end, warm_up, by_epoch = SCHEDULES[name]
    first, steps = config.param_scheduler
    start = 0.067 if name in VITAE else 0.001
    assert (first.end, first.start_factor, first.by_epoch) == (warm_up, start, False)
    assert (list(steps.milestones), steps.end, steps.gamma) == (milestones, end, 0.1)
    assert steps.by_epoch is by_epoch
    assert config.train_cfg["max_epochs" if by_epoch else "max_iters"] == end


@pytest.mark.parametrize("name", RECIPES)
def test_it_builds_and_every_trained_parameter_is_optimised(name: str) -> None:
    found = groups(name)
    assert set(found) == trained(name)
    rates = [lr for lr, _ in found.values()]
    lr, _, layer_decay, *_ = RECIPES[name]
    depth = build(name).backbone.encoder.depth
    assert max(rates) == pytest.approx(lr)
    assert min(rates) == pytest.approx(lr * (layer_decay or 1.0) ** (depth + 1))


@pytest.mark.parametrize("name", SIZES)
def test_published_sizes(name: str) -> None:
    millions = sum(p.numel() for p in build(name).parameters()) / 1e6
    assert round(millions) == SIZES[name]


def decayed(name: str) -> set[str]:
    return {key for key, (_, decay) in groups(name).items() if decay > 0}


def test_cae_decays_the_class_token_and_no_norm_or_bias() -> None:
    found = decayed(VIT.format("base"))
    assert "backbone.encoder.cls_token" in found
    assert "backbone.encoder.pos_embed" not in trained(VIT.format("base"))
    parameters = dict(build(VIT.format("base")).named_parameters())
    assert found == {key for key in trained(VIT.format("base")) if parameters[key].dim() > 1}


@pytest.mark.parametrize("name", [DET100.format("base"), CASCADE.format("large")])
def test_vitdet_decays_all_but_the_encoders_norms_and_positions(name: str) -> None:
    spared = trained(name) - decayed(name)
    depth = build(name).backbone.encoder.depth
    norms = {
        f"backbone.encoder.blocks.{i}.norm{n}.{part}"
        for i in range(depth)
        for n in (1, 2)
        for part in ("weight", "bias")
    }
    assert spared == norms | {"backbone.encoder.pos_embed"}
    tables = {f"backbone.positions.{i}.rel_pos_{axis}" for i in range(depth) for axis in "hw"}
    assert tables <= decayed(name) and not trained(name) & {"backbone.encoder.cls_token"}


def test_lomars_detectors_spare_positions_norms_and_biases() -> None:
    name = DET25.format("base")
    parameters = dict(build(name).named_parameters())
    spared = trained(name) - decayed(name)
    assert all(
        parameters[key].dim() == 1 or "rel_pos_" in key or key.endswith("pos_embed")
        for key in spared
    )
    assert all(parameters[key].dim() > 1 and "pos" not in key for key in decayed(name))


@pytest.mark.parametrize("name", [SWIN.format("", 1), SWIN.format("cascade-", 3)])
def test_swin_spares_norms_and_tables_but_not_biases(name: str) -> None:
    for key in trained(name):
        spared = "norm" in key or key.endswith("relative_position_bias_table")
        assert (key in decayed(name)) is not spared, key
    assert "backbone.norms.0.weight" not in decayed(name)
    assert "backbone.encoder.layers.0.blocks.0.attn.qkv.bias" in decayed(name)


def test_caes_detectors_fit_caes_encoder() -> None:
    """Encoder options that a checkpoint of CAE needs, and its number of proposals."""
    for name in (name for name in RECIPES if "_cae-" in name):
        model = read(name).model
        scale = 1e-5 if "large" in name else 0.1
        encoder = model.backbone.encoder
        assert (encoder.qkv_bias, encoder.layer_scale) == ("qv", scale)
        assert model.train_cfg.rpn_proposal.max_per_img == 2000
    assert read(DET100.format("base")).model.train_cfg.rpn_proposal.max_per_img == 1000


@pytest.mark.parametrize("name", P14)
def test_published_dinov2_has_maps_of_its_own_strides(name: str) -> None:
    model: Any = build(name)
    encoder, registers = model.backbone.encoder, 4 if "reg4" in name else 0
    assert encoder.patch_size == 14 and len(encoder.prefix_tokens) == registers
    assert encoder.num_heads * 64 == encoder.embed_dim
    assert encoder.interpolate_antialias == bool(registers)
    strides = [3.5, 7, 14, 28]
    assert [pair[0] for pair in model.rpn_head.prior_generator.strides] == [*strides, 56]
    assert model.roi_head.bbox_roi_extractor.featmap_strides == strides
    assert model.roi_head.mask_roi_extractor.featmap_strides == strides


@pytest.mark.parametrize("name", VITAE)
def test_vitaes_detector(name: str) -> None:
    """Full-width pyramid, final norm, scaled queries, norms in the RPN: LoMaR's table 2."""
    model: Any = build(name)
    rescaled = [level[0] for level in model.neck.levels[:2]]
    assert [(layer.in_channels, layer.out_channels) for layer in rescaled] == [(768, 768)] * 2
    assert model.backbone.encoder.norm.weight.requires_grad and not model.backbone.unused_state
    assert model.backbone.positions[0].scale == 64**-0.5
    kinds = [type(layer).__name__ for layer in model.rpn_head.rpn_conv.modules()]
    assert kinds.count("LayerNorm2d") == kinds.count("Conv2d") == kinds.count("ReLU") == 2
    after = [*model.rpn_head.modules(), *model.roi_head.modules(), *model.neck.levels[2].modules()]
    assert {norm.eps for norm in after if isinstance(norm, nn.LayerNorm)} == {1e-5}
    assert read(name).param_scheduler[0].start_factor == 0.067
    relative = "irpe" if "lomar" in name else None
    if relative is None:  # a table of its own, of 64 x 64 patches and the class token
        assert model.backbone.encoder.pos_embed.shape == (1, 4097, 768)
    assert model.backbone.encoder.relative_position == relative
    plain: Any = build(DET25.format("base"))
    assert not plain.backbone.encoder.norm.weight.requires_grad


def test_heads() -> None:
    cae, det = read(VIT.format("base")).model, read(DET100.format("base")).model
    assert cae.roi_head.bbox_head.type == "Shared4Conv1FCBBoxHead"
    assert cae.roi_head.bbox_head.loss_bbox == dict(type="GIoULoss", loss_weight=10.0)
    assert cae.roi_head.bbox_head.reg_decoded_bbox and not cae.roi_head.bbox_head.reg_class_agnostic
    assert det.roi_head.bbox_head.loss_bbox.type == det.rpn_head.loss_bbox.type == "L1Loss"
    assert det.rpn_head.num_convs == 2 and not det.roi_head.bbox_head.reg_class_agnostic
    kinds = [type(layer) for layer in build(DET100.format("base")).roi_head.modules()]
    assert not any(issubclass(kind, nn.modules.batchnorm._BatchNorm) for kind in kinds)
    assert sum(issubclass(kind, nn.LayerNorm) for kind in kinds) == 8  # four in each head


def test_cascades() -> None:
    det = read(CASCADE.format("base")).model
    swin = read(SWIN.format("cascade-", 1)).model
    for model, agnostic, loss in ((det, True, "L1Loss"), (swin, False, "GIoULoss")):
        boxes = model.roi_head.bbox_head
        assert [box.bbox_coder.target_stds[0] for box in boxes] == [0.1, 0.05, 0.033]
        assert all(box.reg_class_agnostic is agnostic for box in boxes)
        assert all(box.loss_bbox.type == loss for box in boxes)
        assert all(box.type == "Shared4Conv1FCBBoxHead" for box in boxes)
        thresholds = [stage.assigner.pos_iou_thr for stage in model.train_cfg.rcnn]
        assert thresholds == [0.5, 0.6, 0.7]
    assert det.rpn_head.loss_bbox.type == "L1Loss"


@pytest.mark.parametrize(("size", "blocks"), [("base", (2, 5, 8, 11)), ("large", (5, 11, 17, 23))])
def test_windows(size: str, blocks: tuple[int, ...]) -> None:
    for name in (DET100, DET25, CASCADE):
        backbone: Any = build(name.format(size)).backbone
        assert backbone.global_blocks == set(blocks) and backbone.window_size == 14
        shapes = [tuple(table.rel_pos_h.shape) for table in backbone.positions]
        expected = [(127 if i in blocks else 27, 64) for i in range(len(shapes))]
        assert shapes == expected and len(shapes) == backbone.encoder.depth
        assert backbone.encoder.pos_embed.shape[1] == 197  # resized to 64 x 64 in the forward
        assert backbone.encoder.pos_embed.requires_grad


def test_caes_positions_are_frozen_at_42_by_68() -> None:
    encoder: Any = build(VIT.format("small")).backbone.encoder
    assert encoder.grid == (42, 68) and not encoder.pos_embed.requires_grad
    assert encoder.interpolate_offset == 0.1


def pipeline(name: str) -> list[dict[str, Any]]:
    dataset = read(name).train_dataloader.dataset
    return dataset.get("dataset", dataset).pipeline


@pytest.mark.parametrize("name", [VIT.format("base"), *SWINS])
def test_many_scales(name: str) -> None:
    config = read(name)
    choice = next(t for t in pipeline(name) if t.type == "RandomChoice")
    (plain,), (first, crop, second) = choice.transforms
    assert [short for _, short in plain.scales] == list(range(480, 801, 32))
    assert plain.scales == second.scales and {long for long, _ in plain.scales} == {1333}
    assert [short for _, short in first.scales] == [400, 500, 600]
    assert {long for long, _ in first.scales} == {1333}  # mmdet's DETR has 4200
    assert crop.crop_size == (384, 600) and crop.crop_type == "absolute_range"
    assert config.test_dataloader.dataset.pipeline[1].scale == (1333, 800)
    assert config.model.data_preprocessor.pad_size_divisor == 32


@pytest.mark.parametrize(
    "name", [DET100.format("base"), DET25.format("large"), CASCADE.format("base")]
)
def test_squares_of_1024(name: str) -> None:
    config = read(name)
    kinds = {transform.type: transform for transform in pipeline(name)}
    assert tuple(kinds["RandomResize"].ratio_range) == (0.1, 2.0)
    assert (
        tuple(kinds["RandomResize"].scale) == tuple(kinds["RandomCrop"].crop_size) == (1024, 1024)
    )
    assert config.train_dataloader.dataset.times == (4 if "25e" in name else 1)
    for part in ("val", "test"):
        assert config[f"{part}_dataloader"].dataset.pipeline[1].scale == (1024, 1024)
    with DefaultScope.overwrite_default_scope("mmdet"):
        preprocessor: Any = ROOT_MODELS.build(config.model.data_preprocessor)
        assert TRANSFORMS.build(kinds["RandomCrop"])
    padded = preprocessor(dict(inputs=[torch.full((3, 700, 1024), 255, dtype=torch.uint8)]))
    assert padded["inputs"].shape == (1, 3, 1024, 1024)
    assert padded["inputs"][..., 700:, :].abs().max() == 0  # the mean colour, as published
