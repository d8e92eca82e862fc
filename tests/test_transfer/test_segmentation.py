"""Every segmentation config, made small, trains and is evaluated on scenes of the demo."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from PIL import Image
from yapf.yapflib import yapf_api

from demo import make_demo_data
from mmvitssl.checkpoint import load_file
from tests.marks import some
from tests.test_tools import programs
from tests.test_tools.programs import ROOT
from tests.test_transfer.small_segmentors import (
    ADE20K,
    CAMVID,
    CITYSCAPES,
    SIDE,
    TRANSFER,
    small_segmentor,
)

DEFAULT = (
    "upernet_beit-vit-base", "upernet_cae-1600e-vit-base", "upernet_lomar", "upernet_swin",
    "upernet_vit-small", "setr-mla_vit-small", "setr-naive_vit-small", "setr-pup_vit-small",
)  # fmt: skip
TWO_PROCESSES = (
    "cityscapes/setr-pup_vit-small_8xb1-40k_cityscapes-768x768",
    "ade20k/upernet_swin-tiny_8xb2-160k_ade20k-512x512",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four labelled scenes to train on and two to evaluate on, in all layouts."""
    out = tmp_path_factory.mktemp("segmentation") / "data"
    make_demo_data(out, train=4, val=2, seed=0, image_size=SIDE, cityscapes=True)
    return out


@pytest.fixture(autouse=True)
def plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configs in logs and files as they are: to format them takes longer than all the rest."""
    monkeypatch.setattr(yapf_api, "FormatCode", lambda text, **_: (text, False))


def write(path: Path, folder: Path, data: Path) -> Path:
    config = small_segmentor(path, data)
    config.dump(folder / path.name)
    return folder / path.name


def save_encoder(config: Config, folder: Path) -> Path:
    """A pretraining checkpoint of the config's encoder, less what fine-tuning adds."""
    settings = config.model.backbone.encoder.copy()
    if settings.pop("new_relative", False):
        settings.pop("relative_position")
    if settings.get("layer_scale") == 1:
        settings.pop("layer_scale")
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        encoder = ROOT_MODELS.build(settings)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    torch.save({"state_dict": state}, folder / "pretrained.pth")
    return folder / "pretrained.pth"


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    some(ADE20K + CITYSCAPES + CAMVID, lambda path: path.stem.startswith(DEFAULT)),
    ids=lambda path: path.stem,
)
def test_it_trains_and_is_evaluated(path: Path, data: Path, tmp_path: Path) -> None:
    config = write(path, tmp_path, data)
    pretrained = save_encoder(Config.fromfile(config), tmp_path)
    run = tmp_path / "run"
    programs.train(config, "--work-dir", run, "--pretrained", pretrained)
    steps = [line for line in programs.logged(run) if "loss" in line]
    assert len(steps) == 2 and all(np.isfinite(line["loss"]) for line in steps)
    before = load_file(pretrained)["state_dict"]
    after = load_file(run / "last.pth")["state_dict"]
    moved = {key: not torch.equal(value, after[f"backbone.{key}"]) for key, value in before.items()}
    assert moved["encoder.patch_embed.proj.weight"] and not moved["encoder.norm.weight"]
    output = programs.test(
        config, run / "last.pth", "--work-dir", tmp_path / "test",
        "--out", tmp_path / "results.json", "--show-dir", tmp_path / "show",
    ).stdout  # fmt: skip
    metrics = json.loads((tmp_path / "results.json").read_text())
    assert metrics["mIoU"] == pytest.approx(programs.value(output, "mIoU"), abs=1e-3)
    assert 0 <= metrics["mIoU"] <= metrics["mAcc"] <= 100
    pictures = sorted((tmp_path / "show").glob("**/*.png"))
    assert len(pictures) == 2
    drawn = np.asarray(Image.open(pictures[0]))
    assert drawn.shape[:2] == (SIDE, 2 * SIDE)  # ground truth beside the prediction


@pytest.mark.long
@pytest.mark.parametrize("name", TWO_PROCESSES)
def test_two_processes(name: str, data: Path, tmp_path: Path) -> None:
    config = write(TRANSFER / f"{name}.py", tmp_path, data)
    pretrained = save_encoder(Config.fromfile(config), tmp_path)
    programs.run(
        ROOT / "tools/dist_train.sh", config, "2", "--work-dir", tmp_path / "run",
        "--pretrained", pretrained, "--cfg-options", "train_dataloader.batch_size=2",
        PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin", PYTHON=sys.executable,
    )  # fmt: skip
    steps = [line for line in programs.logged(tmp_path / "run") if "loss" in line]
    assert len(steps) == 2 and all(np.isfinite(line["loss"]) for line in steps)
    assert (tmp_path / "run/last.pth").is_file()
