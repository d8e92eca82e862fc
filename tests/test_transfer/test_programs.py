"""A pretraining checkpoint handed to Mask R-CNN and UperNet by the command-line programs."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from demo import make_demo_data
from mmvitssl.checkpoint import load_file
from mmvitssl.registry import MODELS
from tests.marks import some
from tests.test_tools import programs
from tests.test_tools.programs import ROOT

DEMO = ROOT / "configs/demo"
ITERATIONS = ["train_cfg.max_iters=2", "default_hooks.checkpoint.interval=2"]


@dataclass(frozen=True)
class Downstream:
    """A downstream config and what its evaluation must say."""

    config: Path
    metric: str
    pictures: str
    ann_file: bool = False

    def options(self, data: Path) -> list[str]:
        """Where the data lies, and as few iterations as possible."""
        paths = [f"{part}_dataloader.dataset.data_root={data}/" for part in ("train", "test")]
        if self.ann_file:
            paths.append(f"test_evaluator.ann_file={data}/annotations/instances_val.json")
        return [*paths, "train_dataloader.batch_size=2", *ITERATIONS]


TASKS = {
    "mask-rcnn": Downstream(
        DEMO / "mask-rcnn_vit-p8_demo.py", "coco/bbox_mAP", "**/*.jpg", ann_file=True
    ),
    "upernet": Downstream(DEMO / "upernet_vit-p8_demo.py", "mIoU", "**/*.png"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labelled scenes to train on and two to evaluate on."""
    out = tmp_path_factory.mktemp("transfer") / "data"
    make_demo_data(out, train=8, val=2, seed=0, image_size=224)
    return out


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with all that the demo's pretraining saves beside the encoder."""
    config = Config.fromfile(DEMO / "repre-simclr_vit-p8_demo.py")
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        model = MODELS.build(config.model)
    path = tmp_path_factory.mktemp("transfer") / "epoch_12.pth"
    torch.save({"state_dict": model.state_dict(), "meta": {"epoch": 12}}, path)
    return path


def encoder_of(path: Path, prefix: str) -> dict[str, torch.Tensor]:
    state = load_file(path)["state_dict"]
    return {key[len(prefix) :]: state[key] for key in state if key.startswith(prefix)}


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_from_the_checkpoint_to_the_metrics(
    name: str, data: Path, pretrained: Path, tmp_path: Path
) -> None:
    task = TASKS[name]
    options = ["--cfg-options", *task.options(data)]
    # a rate of nothing: what training starts from is what it ends with
    output = programs.train(
        task.config, "--work-dir", tmp_path / "run", "--pretrained", pretrained, *options,
        "optim_wrapper.optimizer.lr=0.0",
    ).stdout  # fmt: skip
    assert "tensors of the online encoder" in output and "Left out" in output
    expected = encoder_of(pretrained, "encoder.")
    trained = encoder_of(tmp_path / "run/last.pth", "backbone.encoder.")
    assert set(trained) == set(expected)
    for key in set(expected) - {"pos_embed"}:  # resized where the image is another
        assert torch.equal(trained[key], expected[key]), key
    output = programs.test(
        task.config, tmp_path / "run/last.pth", "--work-dir", tmp_path / "test", "--out",
        tmp_path / "out/results.pkl", "--show-dir", tmp_path / "show", *options,
    ).stdout  # fmt: skip
    printed = programs.value(output, task.metric)
    metrics = json.loads((tmp_path / "out/results.json").read_text())
    assert metrics[task.metric] == pytest.approx(printed, abs=1e-3)
    assert (tmp_path / "out/results.pkl").stat().st_size > 0
    assert len(list((tmp_path / "show").glob(task.pictures))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", some(TASKS, lambda name: name == "upernet"))
def test_two_processes(name: str, data: Path, pretrained: Path, tmp_path: Path) -> None:
    task = TASKS[name]
    programs.run(
        ROOT / "tools/dist_train.sh", task.config, "2", "--work-dir", tmp_path, "--pretrained",
        pretrained, "--cfg-options", *task.options(data), "train_dataloader.num_workers=0",
        "train_dataloader.persistent_workers=False", "default_hooks.logger.interval=1",
        PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin", PYTHON=sys.executable,
    )  # fmt: skip
    lines = programs.logged(tmp_path)
    assert len(lines) == 2
    assert all(torch.tensor(line["loss"]).isfinite() for line in lines)


def test_missing_data_is_named_before_anything_is_built(tmp_path: Path) -> None:
    task = TASKS["mask-rcnn"]
    done = programs.train(
        task.config, "--work-dir", tmp_path, "--cfg-options", *task.options(tmp_path), ok=False
    )
    assert done.returncode == 2 and "Traceback" not in done.stdout
    assert f"train_dataloader reads {tmp_path}/images/train, which does not exist" in done.stdout
