"""Every family of configs trains when inherited by package name from a folder of the user's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from PIL import Image

from benchmark import StepBench
from benchmark.configs import find_config
from gpu_checks.small import IMAGE_SIZE, METHODS, SIZES, shrunk
from mmvitssl.engine import launch, training
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.image_size import resize_config
from mmvitssl.registry import DATASETS, HOOKS, MODELS, TRANSFORMS
from tests.marks import some
from tests.test_tools.programs import ENVIRONMENT, ROOT, inherited, logged

CONFIGS = ROOT / "configs"
FAMILIES = sorted(
    {
        path.relative_to(CONFIGS).parent: path
        for path in sorted(CONFIGS.rglob("*.py"), reverse=True)
        if "_base_" not in path.parts and not path.name.startswith("knn_")
    }.values()
)
STEPPED = {"mae": "mae_vit-base_64xb64-cosine-800e_in1k.py",
           "mocov3": "mocov3_vit-small_32xb128-cosine-300e_in1k.py"}  # fmt: skip


def scopes(node: Any, found: set[Any]) -> set[Any]:
    if isinstance(node, dict):
        found |= {node["_scope_"]} if "_scope_" in node else set()
        for value in node.values():
            scopes(value, found)
    elif isinstance(node, (list, tuple)):
        for value in node:
            scopes(value, found)
    return found


@pytest.mark.parametrize(
    "path",
    some(FAMILIES, lambda path: path.parent.name in ("cae", "coco", "ade20k", "camvid", "probe")),
    ids=lambda path: str(path.relative_to(CONFIGS).parent),
)
def test_the_parts_of_every_family_build(path: Path, tmp_path: Path) -> None:
    config = read_config(str(inherited(path, tmp_path)))
    by_path = read_config(str(path))
    scope = launch.prepare_scope(config)
    assert scopes(config.to_dict(), set()) <= {scope, None}
    loader = config.train_dataloader
    assert "_scope_" not in loader.get("collate_fn", {})
    names = [[node["type"] for node in (c.model, c.optim_wrapper)] for c in (config, by_path)]
    assert names[0] == names[1]
    with DefaultScope.overwrite_default_scope(scope):
        with torch.device("meta"):
            if scope == "mmvitssl":
                MODELS.build(config.model)
            else:
                assert ROOT_MODELS.get(f"{scope}.{config.model.type}") is not None
        for hook in config.get("custom_hooks", []):
            HOOKS.build(hook)
        dataset = loader.dataset
        while "dataset" in dataset:
            dataset = dataset.dataset
        with DATASETS.switch_scope_and_registry(dataset.get("_scope_")) as registry:
            assert registry.get(dataset.type) is not None
        with TRANSFORMS.switch_scope_and_registry(dataset.get("_scope_")) as registry:
            for step in dataset.get("pipeline", []):
                assert registry.get(step.type) is not None


def tiny(folder: Path, family: str) -> str:
    """Two steps of a tiny model."""
    task = (
        "masked=dict(neck=dict(in_channels=48, out_channels=192, width=32, depth=1, num_heads=2, "
        "grid=4), target=dict(patch_size=8))"
        if family == "mae"
        else "contrastive=dict(projector=dict(in_channels=48, hidden_channels=32, "
        "out_channels=16), predictor=dict(in_channels=16, hidden_channels=32, out_channels=16))"
    )
    return f"""
view = [dict(type='RandomResizedCrop', size=32)]
model = dict(
    encoder=dict(
        arch=dict(_delete_=True, embed_dim=48, depth=2, num_heads=3), image_size=32, patch_size=8),
    tasks=dict({task}))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(root='{folder}', pipeline=[
        dict(type='LoadImage'), dict(type='MultiView', views=[dict(num=2, transforms=view)]),
        dict(type='PackViews')]))
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("family", STEPPED)
def test_two_steps_from_a_folder_of_the_users_own(family: str, data: Path, tmp_path: Path) -> None:
    config = inherited(CONFIGS / family / STEPPED[family], tmp_path, tiny(data, family))
    # runs of one process and second are told apart by their names
    named = ("--cfg-options", f"experiment_name=inherited-{family}")
    arguments = [str(config), "--work-dir", str(tmp_path / "run"), *named]
    training.train(training.parser(None).parse_args(arguments))
    lines = logged(tmp_path / "run")
    assert len(lines) == 2 and all(np.isfinite(line["loss"]) for line in lines)


@pytest.mark.parametrize("name", some(METHODS, lambda name: name in ("cae", "dino", "mtssl-all")))
def test_every_method_steps_when_inherited_by_package_name(name: str, tmp_path: Path) -> None:
    method, _, arch = name.partition("/")
    try:
        path = find_config(method, arch or "ViT-S/16")
    except ValueError:  # published from ViT-B on
        path = find_config(method, "ViT-B/16")
    config = read_config(str(inherited(path, tmp_path)))
    if not arch:
        resize_config(config, IMAGE_SIZE)
    launch.prepare_scope(config)
    config = shrunk(config, SIZES["cpu"], is_swin=bool(arch))
    bench = StepBench(name, config, 4, "cpu", "fp32", tokenizer_width=8)
    before = [parameter.detach().clone() for parameter in bench.model.parameters()]
    bench.step()
    bench.step()
    after = list(bench.model.parameters())
    assert all(value.isfinite().all() for value in after)
    assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True))


PLAIN = """
from mmengine.config import Config
from mmengine.runner import Runner
import sys
assert 'mmvitssl' not in sys.modules
config = Config.fromfile('mine.py')
config.work_dir = 'run'
Runner.from_cfg(config).train()
"""


@pytest.mark.slow
def test_plain_mmengine_trains_without_this_package_imported_first(
    data: Path, tmp_path: Path
) -> None:
    """By path; by package name MMEngine finds only what its own table has."""
    config = inherited(CONFIGS / "mae" / STEPPED["mae"], tmp_path, tiny(data, "mae"))
    # tools/train.py shortens the warm-up of 40 epochs; MMEngine alone wants it shorter
    schedule = "param_scheduler = [dict(type='CosineAnnealingLR', convert_to_iter_based=True)]\n"
    text = config.read_text().replace("mmvitssl::", f"{CONFIGS}/")
    assert "RandomResizedCrop', size=32" in text  # left out: it follows from the encoder
    config.write_text(text.replace("RandomResizedCrop', size=32", "RandomResizedCrop'") + schedule)
    done = subprocess.run(
        [sys.executable, "-c", PLAIN], cwd=tmp_path, env=ENVIRONMENT, timeout=600,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Epoch(train) [1][2/2]" in done.stdout
    (log,) = (tmp_path / "run").glob("*/vis_data/scalars.json")
    rates = [json.loads(line)["lr"] for line in log.read_text().splitlines()]
    assert rates[1] < 0.6 * rates[0]  # the schedule ends with the training


@pytest.mark.parametrize("path", ["mask-rcnn_vit-small_16xb2-1x_coco.py"])
def test_a_detector_builds_where_mmengine_alone_reads_its_config(path: str) -> None:
    config = Config.fromfile(CONFIGS / "transfer/coco" / path)
    launch.prepare_scope(config)
    with DefaultScope.overwrite_default_scope("mmdet"), torch.device("meta"):
        model = ROOT_MODELS.build(config.model)
    assert model.backbone.encoder.embed_dim == 384


def test_a_config_of_the_users_own_scope_finds_inherited_classes(tmp_path: Path) -> None:
    base = CONFIGS / "mae" / STEPPED["mae"]
    config = Config.fromfile(inherited(base, tmp_path, "default_scope = 'mmdet'\n"))
    assert config.default_scope == "mmdet" and config.model._scope_ == "mmvitssl"
