"""The tutorials' files and commands, in a folder of the user's own outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from mmvitssl.checkpoint import load_file
from tests.test_docs.blocks import read_blocks
from tests.test_docs.workspace import write_coco, write_folder
from tests.test_tools.programs import ROOT, logged

# one iteration of a handful of images
QUICK = """
train_cfg = dict(max_epochs=1)
views = [dict(num=2, transforms=[dict(type='RandomResizedCrop', size=64, scale=(0.2, 1.0))])]
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    dataset=dict(_delete_=True, type='ImageFolder', root='photos', pipeline=[
        dict(type='LoadImage'), dict(type='MultiView', views=views), dict(type='PackViews')]))
auto_scale_lr = dict(enable=False)
"""
TINY_TASKS = """
model = dict(
    encoder=dict(arch=dict(embed_dim=32, depth=2, num_heads=2), image_size=64),
    tasks=dict(contrastive=dict(
        projector=dict(hidden_channels=16, out_channels=8),
        predictor=dict(hidden_channels=16))))
"""
TINY_MLP = """
model = dict(tasks=dict(contrastive=dict(
    projector=dict(hidden_channels=16, out_channels=8),
    predictor=dict(hidden_channels=16))))
"""


def write_blocks(page: str, folder: Path) -> dict[str, int]:
    """Write the page's files; their names, with their lines of code."""
    blocks = read_blocks(page, (ROOT / "docs" / page).read_text())
    files = {block.file: block.text for block in blocks if block.file is not None}
    for name, text in files.items():
        (folder / name).write_text(text)
    return {name: sum(bool(line.strip()) for line in text.splitlines())
            for name, text in files.items()}  # fmt: skip


def quick(folder: Path, name: str, *more: str) -> str:
    """A config that inherits the tutorial's and is small."""
    lines = [f"_base_ = '{name}'", QUICK, *more]
    (folder / f"quick_{name}").write_text("\n".join(lines))
    return f"quick_{name}"


def program(folder: Path, *arguments: str) -> str:
    """Run ``mmvitssl`` in the folder; its output."""
    env = {**os.environ, "PYTHONPATH": f".{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mmvitssl.cli", *arguments],
        cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_a_task_of_ones_own(tmp_path: Path) -> None:
    assert write_blocks("add_a_task.md", tmp_path)["row_colours.py"] < 60
    write_folder(tmp_path / "photos", 8, seed=0)
    config = quick(tmp_path, "my_task.py", TINY_TASKS)
    program(tmp_path, "train", config, "--work-dir", "out")
    last = logged(tmp_path / "out")[-1]
    assert 0 < last["rows_error"] < 1 and last["weight_rows"] == pytest.approx(0.1)
    program(tmp_path, "visualize", "reconstruction", config, "out/last.pth", "photos/0.jpg",
            "--out", "pictures")  # fmt: skip
    assert (tmp_path / "pictures/rows.png").stat().st_size > 1000
    program(tmp_path, "checkpoint", "export", "--format", "safetensors", "out/last.pth",
            "encoder.safetensors")  # fmt: skip
    assert (tmp_path / "encoder.safetensors").is_file()


@pytest.mark.slow
def test_a_backbone_of_ones_own(tmp_path: Path) -> None:
    assert write_blocks("add_a_backbone.md", tmp_path)["conv_stages.py"] < 150
    write_folder(tmp_path / "photos", 8, seed=0)
    config = quick(tmp_path, "pretrain_conv.py", TINY_MLP)
    program(tmp_path, "train", config, "--work-dir", "pretrained")
    from mmdet.datasets import CocoDataset

    write_coco(tmp_path / "data/coco", CocoDataset.METAINFO["classes"])
    (tmp_path / "quick_detect.py").write_text("\n".join([
        "_base_ = 'detect_conv.py'",
        "train_cfg = dict(max_epochs=1, val_interval=9)",
        "pipeline = [dict(type='LoadImageFromFile'),",
        "    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),",
        "    dict(type='Resize', scale=(128, 96)), dict(type='PackDetInputs')]",
        "train_dataloader = dict(num_workers=0, persistent_workers=False,",
        "    dataset=dict(pipeline=pipeline))",
        "optim_wrapper = dict(type='OptimWrapper')",
        "val_dataloader = dict(num_workers=0, persistent_workers=False)",
    ]))  # fmt: skip
    program(tmp_path, "train", "quick_detect.py", "--work-dir", "detector", "--pretrained",
            "pretrained/last.pth", "--cfg-options", "data_root=data/coco/")  # fmt: skip
    before = load_file(tmp_path / "pretrained/last.pth")["state_dict"]
    after = load_file(tmp_path / "detector/last.pth")["state_dict"]
    name = "encoder.stages.0.0.weight"
    assert torch.allclose(before[name], after[f"backbone.{name}"], atol=0.05)
    # the last line may be of the validation
    losses = [line["loss_mask"] for line in logged(tmp_path / "detector") if "loss_mask" in line]
    assert losses and losses[-1] > 0


def test_maskers_and_formats_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmvitssl.checkpoint.formats import FORMATS
    from mmvitssl.models.masking import FeatureMasking
    from mmvitssl.registry import MODELS

    write_blocks("add_a_masker_or_format.md", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import_module("checkerboard")
    import_module("low_norm")
    plan = MODELS.build(dict(type="CheckerboardMasking"))((4, 6), 3, torch.Generator())
    plan.validate(3, (4, 6))
    both = torch.cat([plan.tokens, plan.dropped], dim=1).sort(dim=1).values
    assert torch.equal(both, torch.arange(24).expand(3, -1))
    assert isinstance(MODELS.build(dict(type="LowNormMasking")), FeatureMasking)
    try:
        import_module("my_format")
        assert "mine" in FORMATS
    finally:
        FORMATS.pop("mine", None)
