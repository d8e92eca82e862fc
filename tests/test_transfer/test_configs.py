"""Full-size transfer configs: they inherit from mmdet and mmseg, build, and keep what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from torch import nn

from mmvitssl import compat
from mmvitssl.checkpoint import load_encoder
from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from mmvitssl.models.backbones import DenseFeatures, ViT
from mmvitssl.models.necks import ScalePyramid
from mmvitssl.registry import MODELS
from tests.test_tools.programs import ROOT

CONFIGS = ROOT / "configs"
DETECTION = [
    CONFIGS / f"transfer/coco/mask-rcnn_vit-{size}_16xb2-1x_coco.py" for size in ("base", "small")
]
SEGMENTATION = [
    CONFIGS / f"transfer/ade20k/upernet_vit-{size}_8xb2-160k_ade20k-512x512.py"
    for size in ("base", "small")
]
PRETRAINING = CONFIGS / "repre/repre-mocov3_vit-small_32xb128-cosine-300e_in1k.py"


def name_of(path: Path) -> str:
    return path.stem


def read(path: Path) -> Config:
    """A config without what needs a GPU."""
    config = read_config(str(path))
    launch.prepare_scope(config)
    return config


def build(config: Config) -> nn.Module:
    with DefaultScope.overwrite_default_scope(config.default_scope):
        return ROOT_MODELS.build(config.model)


@pytest.mark.parametrize("path", DETECTION + SEGMENTATION, ids=name_of)
def test_full_size_configs_build_and_decay_by_layer(path: Path) -> None:
    config = read(path)
    config.optim_wrapper.pop("type")  # automatic mixed precision wants a GPU
    model = revert_sync_batchnorm(build(config))
    assert isinstance(model.backbone, DenseFeatures)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    rates = [group["lr"] for group in wrapper.optimizer.param_groups]
    base = config.optim_wrapper.optimizer.lr
    rate = config.optim_wrapper.paramwise_cfg.decay_rate
    assert max(rates) == base
    assert min(rates) == pytest.approx(base * rate**13)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == sum(p.numel() for g in wrapper.optimizer.param_groups for p in g["params"])


def test_synchronised_norms_are_reverted_for_one_process() -> None:
    config = read(SEGMENTATION[1])
    model = build(config)
    kinds = {type(module) for module in model.modules()}
    assert nn.SyncBatchNorm in kinds
    reverted = revert_sync_batchnorm(model)
    assert nn.SyncBatchNorm not in {type(module) for module in reverted.modules()}
    maps = reverted.eval().backbone(torch.randn(1, 3, 32, 64))
    assert [tuple(level.shape[2:]) for level in reverted.neck(maps)] == [
        (8, 16),
        (4, 8),
        (2, 4),
        (1, 2),
    ]


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A full-size ViT-S pretraining model and its checkpoint."""
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        model = MODELS.build(Config.fromfile(PRETRAINING).model)
    nn.init.normal_(model.encoder.cls_token)
    path = tmp_path_factory.mktemp("pretraining") / "epoch_300.pth"
    torch.save({"state_dict": model.state_dict()}, path)
    return model, path


@pytest.mark.parametrize("path", [DETECTION[1], SEGMENTATION[1]], ids=name_of)
def test_features_in_the_detector_are_the_pretrained_encoders(
    path: Path, pretraining: tuple[nn.Module, Path]
) -> None:
    pretrainer, checkpoint = pretraining
    model = build(read(path)).eval()
    report = load_encoder(model.backbone, checkpoint)
    assert len(report.loaded) == len(model.backbone.state_dict())
    images = torch.randn(1, 3, 224, 224)
    expected = pretrainer.encoder.eval()(images, levels=(3, 5, 7, 11)).hierarchy
    if model.backbone.encoder.grid != (14, 14):  # tables made for larger images are resized
        assert report.resized
        model.backbone.encoder.grid = (14, 14)
        model.backbone.encoder.pos_embed = pretrainer.encoder.pos_embed
    for level, feature in zip((3, 5, 7, 11), model.backbone(images), strict=True):
        torch.testing.assert_close(feature.flatten(2).transpose(1, 2), expected[level])


def test_inheritance_does_not_depend_on_the_forks_name(monkeypatch: pytest.MonkeyPatch) -> None:
    tables: dict[str, Any] = dict(config_utils.MODULE2PACKAGE, mmseg="mmsegmentation")
    tables.pop("mmvitssl", None)
    monkeypatch.setattr(config_utils, "MODULE2PACKAGE", tables)
    with monkeypatch.context() as upstream:
        upstream.setattr(compat, "distribution", lambda name: None)
        compat.map_config_scopes()
        assert tables["mmseg"] == "mmsegmentation"
    compat.map_config_scopes()
    assert tables["mmseg"] == "mmseg" and tables["mmvitssl"] == "mmvitssl"
    assert Config.fromfile(SEGMENTATION[0]).model.type == "EncoderDecoder"


def test_demo_and_full_size_configs_share_the_path() -> None:
    demo = read(CONFIGS / "demo/mask-rcnn_vit-p8_demo.py").model
    full = read(DETECTION[0]).model
    assert demo.backbone.type == full.backbone.type
    assert [neck.type for neck in demo.neck] == [neck.type for neck in full.neck]
    model = build(read(CONFIGS / "demo/upernet_vit-p8_demo.py"))
    assert isinstance(model.backbone.encoder, ViT) and isinstance(model.neck, ScalePyramid)


@pytest.mark.parametrize("name", ["mask-rcnn", "upernet"])
def test_the_tiny_configs_take_other_depths_of_the_same_number_of_levels(name: str) -> None:
    arch = dict(_delete_=True, base="tiny", depth=4)
    options = {"model.backbone.levels": (0, 1, 2, 3), "model.backbone.encoder.arch": arch}
    model = build(read_config(str(CONFIGS / f"demo/{name}_vit-tiny_demo.py"), options))
    assert model.backbone.levels == (0, 1, 2, 3) and model.backbone.encoder.embed_dim == 192
