"""The table of the papers' rows: it is current, and each of its configs builds and trains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import published_tables as tables
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

from benchmark import StepBench
from benchmark.step import synthetic_views
from gpu_checks.small import SIZES, shrunk
from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.image_size import resize_config
from mmvitssl.registry import MODELS
from tests.marks import some
from tests.test_tools.programs import ROOT
from tests.test_transfer.small_detectors import DETECTION
from tests.test_transfer.small_segmentors import ADE20K, CITYSCAPES

CONFIGS = ROOT / "configs"
ROWS = [row for table in tables.read()[0] for row in table.rows]
NAMES = sorted({name for row in ROWS for name in row.configs})
# those of make test
DEFAULT = (
    "lomar/lomar_vit-base_asymmetric-win7-4xb256-cosine-400e_in1k",
    "mocov2/mocov2_vit-small_8xb128-cosine-300e_in1k",
    "mtssl/mtssl-bins_vit-small_32xb128-cosine-300e_in1k",
    "mtssl/mtssl-cluster_vit-small_32xb128-cosine-300e_in1k",
    "mtssl/mtssl-parts_vit-small_32xb128-cosine-300e_in1k",
    "mtssl/mtssl-sit_vit-small_32xb128-cosine-300e_in1k",
    "mtssl/sit_vit-base_4xb72-cosine-501e_in1k",
    "probe/finetune-simmim_swin-base_16xb128-cosine-100e_in1k-192px",
    "probe/linear-beit_vit-base_8xb128-cosine-100e_in1k",
    "repre/ablations/repre-mocov3_swin-tiny_transformer2-32xb128-cosine-300e_in1k",
    "simmim/simmim_swin-base_16xb128-cosine-100e_in1k-192px",
    "supervised/supervised_vit-base_32xb128-cosine-300e_in1k",
)
SIDE, CLASSES = 64, 4


def path_of(name: str) -> Path:
    return CONFIGS / f"{name}.py"


def test_the_page_is_current() -> None:
    assert tables.PAGE.read_text() == tables.render()


def test_rows_name_configs_that_exist_and_go_together() -> None:
    assert len(ROWS) > 200 and len({(row.label, *row.configs, row.published) for row in ROWS})
    missing = [name for name in NAMES if not path_of(name).is_file()]
    assert not missing
    for row in ROWS:
        assert row.label and row.published and row.configs
        assert row.evaluation is None or row.evaluation.startswith(
            ("probe/", "transfer/", "supervised/")
        )


def test_every_table_with_a_number_says_where_it_was_read() -> None:
    for table in tables.read()[0]:
        numbers = any(re.search(r"\d\d\.\d", row.published) for row in table.rows)
        assert table.source or not numbers, table.title


def test_transfer_configs_train_in_the_tests_of_detection_and_segmentation() -> None:
    trained = {*DETECTION, *ADE20K, *CITYSCAPES}
    named = {path_of(name) for name in NAMES if name.startswith("transfer/")}
    assert named and named <= trained


@pytest.mark.parametrize("name", some(NAMES, lambda name: name in DEFAULT))
def test_every_config_builds(name: str) -> None:
    config = read_config(str(path_of(name)))
    scope = launch.prepare_scope(config)
    with DefaultScope.overwrite_default_scope(scope), torch.device("meta"):
        model = (MODELS if scope == "mmvitssl" else ROOT_MODELS).build(config.model)
    assert any(parameter.requires_grad for parameter in model.parameters())


def small(name: str) -> Config:
    """The config with a small encoder and small images."""
    config = read_config(str(path_of(name)))
    launch.prepare_scope(config)
    patch = config.model.encoder.get("patch_size", 4)
    resize_config(config, SIDE if SIDE % patch == 0 else 4 * patch)
    is_swin = config.model.encoder.type == "SwinTransformer"
    if is_swin:
        config.model.encoder.window_size = 2
    if "tasks" in config.model:
        return shrunk(config, SIZES["cpu"], is_swin)
    config.model.encoder.arch = (
        dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2))
        if is_swin
        else dict(embed_dim=24, depth=4, num_heads=2)
    )
    config.model.head.num_classes = CLASSES
    return config


def classify(config: Config) -> Any:
    """Two steps of a classifier on noise."""
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    wrapper = build_optim_wrapper(
        model, {**config.optim_wrapper, "type": "AutocastOptimWrapper", "precision": "fp32"}
    )
    for step in range(2):
        index = torch.arange(4)
        samples = {"index": index, "epoch": torch.full_like(index, step), "label": index % CLASSES}
        batch = {"views": synthetic_views(config, 4), "samples": samples}
        loss = model.train_step(batch, wrapper)["loss"]
        assert loss.isfinite()
    return model


@pytest.mark.parametrize(
    "name",
    some([name for name in NAMES if not name.startswith("transfer/")], lambda n: n in DEFAULT),
)
def test_two_steps(name: str) -> None:
    config = small(name)
    if "tasks" not in config.model:
        model = classify(config)
    else:
        bench = StepBench(name, config, 4, "cpu", "fp32", tokenizer_width=8)
        before = [parameter.detach().clone() for parameter in bench.model.parameters()]
        bench.step()
        bench.step()
        model = bench.model
        after = list(model.parameters())
        assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert all(parameter.isfinite().all() for parameter in model.parameters())
