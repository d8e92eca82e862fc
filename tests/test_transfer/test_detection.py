"""Every detection config, made small, trains and is evaluated on scenes in COCO's layout."""

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
from mmvitssl.checkpoint.named import PARTS
from mmvitssl.engine import launch, training
from tests.marks import some
from tests.test_tools import programs
from tests.test_transfer.small_detectors import COCO, DETECTION, SIDE, small_detector

DEFAULT = (
    "cascade-mask-rcnn_vitdet-base_64xb1-100e_coco-1024px",
    "cascade-mask-rcnn_swin-tiny_8xb2-1x_coco",
    "mask-rcnn_swin-tiny_8xb2-1x_coco",
    "mask-rcnn_vit-small_16xb2-1x_coco",
    "mask-rcnn_vitdet-base_32xb2-25e_coco-1024px",
)
TWO_PROCESSES = ("mask-rcnn_vitdet-base_64xb1-100e_coco-1024px", "mask-rcnn_swin-tiny_8xb2-1x_coco")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four labelled scenes to train on and two to evaluate on."""
    out = tmp_path_factory.mktemp("detection") / "data"
    make_demo_data(out, train=4, val=2, seed=0, image_size=SIDE)
    return out


@pytest.fixture(autouse=True)
def plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configs in logs and files as they are: to format them takes longer than all the rest."""
    monkeypatch.setattr(yapf_api, "FormatCode", lambda text, **_: (text, False))


def write(path: Path, folder: Path, data: Path) -> Path:
    config = small_detector(path, data)
    config.dump(folder / path.name)
    return folder / path.name


def save_encoders(config: Config, folder: Path) -> Path:
    """A pretraining checkpoint with an online and a momentum encoder of the config's kind."""
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        encoder = ROOT_MODELS.build(config.model.backbone.encoder)
    state = {}
    for prefix in PARTS.values():
        for parameter in encoder.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        state.update({f"{prefix}{k}": v.clone() for k, v in encoder.state_dict().items()})
    torch.save({"state_dict": state}, folder / "pretrained.pth")
    return folder / "pretrained.pth"


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", some(DETECTION, lambda path: path.stem in DEFAULT), ids=lambda path: path.stem
)
def test_it_trains_and_is_evaluated(path: Path, data: Path, tmp_path: Path) -> None:
    config = write(path, tmp_path, data)
    pretrained = save_encoders(Config.fromfile(config), tmp_path)
    run = tmp_path / "run"
    source = "target" if path.stem.startswith("cascade") else "online"
    chosen = ["--pretrained-source", "target"] if source == "target" else []
    programs.train(config, "--work-dir", run, "--pretrained", pretrained, *chosen)
    lines = programs.logged(run)
    steps = [line for line in lines if "loss" in line]
    assert len(steps) == 2 and all(np.isfinite(line["loss"]) for line in steps)
    before, after = (load_file(x)["state_dict"] for x in (pretrained, run / "last.pth"))

    def moved(name: str) -> float:
        change = before[PARTS[source] + name] - after[f"backbone.encoder.{name}"]
        return change.abs().max().item()

    trained = Config.fromfile(config).model.backbone.get("final_norm", False)
    assert 0 < moved("patch_embed.proj.weight") < 1e-3
    assert (moved("norm.weight") > 0) == trained
    output = programs.test(
        config, run / "last.pth", "--work-dir", tmp_path / "test",
        "--out", tmp_path / "results.pkl", "--show-dir", tmp_path / "show",
    ).stdout  # fmt: skip
    metrics = json.loads((tmp_path / "results.json").read_text())
    for metric in ("coco/bbox_mAP", "coco/segm_mAP"):
        assert metrics[metric] == pytest.approx(programs.value(output, metric), abs=1e-3)
        assert -1 <= metrics[metric] <= 1
    assert (tmp_path / "results.pkl").stat().st_size > 0
    pictures = sorted((tmp_path / "show").glob("**/*.jpg"))
    assert len(pictures) == 2
    drawn = np.asarray(Image.open(pictures[0])).astype(int)
    truth, predicted = drawn[:, :SIDE], drawn[:, SIDE:]
    assert truth.shape == predicted.shape == (SIDE, SIDE, 3)
    scene = np.asarray(Image.open(data / "images/val" / pictures[0].name)).astype(int)
    for part in (truth, predicted):
        assert np.abs(part - scene).mean() > 1  # something is drawn over it


@pytest.mark.slow
def test_mixed_precision_trains(data: Path, tmp_path: Path) -> None:
    """bfloat16 reaches NMS and RoIAlign, on a CPU too, and the losses are those of float32."""
    config = write(COCO / "mask-rcnn_vit-small_16xb2-1x_coco.py", tmp_path, data)
    first = []
    for name, options in (("float32", ()), ("bf16", ("--amp", "bf16"))):
        programs.train(config, "--work-dir", tmp_path / name, *options)
        steps = [line for line in programs.logged(tmp_path / name) if "loss" in line]
        assert len(steps) == 2 and all(np.isfinite(line["loss"]) for line in steps)
        first.append(steps[0]["loss"])
    assert first[1] == pytest.approx(first[0], rel=0.02) and first[1] != first[0]


@pytest.mark.long
def test_two_processes(data: Path, tmp_path: Path) -> None:
    """Parameters that do not run would end the second step of distributed training."""
    runs = []
    for name in TWO_PROCESSES:
        folder = tmp_path / name
        folder.mkdir()
        config = write(COCO / f"{name}.py", folder, data)
        runs += [config, folder / "run", save_encoders(Config.fromfile(config), folder)]
    programs.run(
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        "-m", "tests.test_transfer.two_processes", *runs,
    )  # fmt: skip
    for _, work_dir, _ in zip(*[iter(runs)] * 3, strict=True):
        steps = [line for line in programs.logged(work_dir) if "loss" in line]
        assert len(steps) == 2 and all(np.isfinite(line["loss"]) for line in steps)
        assert (work_dir / "last.pth").is_file()


def test_a_source_without_a_checkpoint_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", str(DETECTION[0]), "--pretrained-source=target"])
    with pytest.raises(launch.UserError, match="chooses an encoder of --pretrained"):
        training.prepare(training.parse(training.parser("")))
