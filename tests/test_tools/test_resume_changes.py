"""A run that is taken up with another schedule, rate or batch follows what is stated now."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmvitssl.engine import resume, training
from mmvitssl.engine.errors import UserError
from tests.test_tools import programs
from tests.test_tools.programs import ROOT, logged, write_config


def images(folder: Path, number: int) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for index in range(number):
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


Run = Callable[..., list[float]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = write_config(tmp_path, images(tmp_path / "data", 8))
    count = iter(range(100))

    def go(*options: str, resume: bool = False, folder: str = "run") -> list[float]:
        """Rates of the run's steps."""
        arguments = [str(config), "--work-dir", str(tmp_path / folder)]
        arguments += ["--resume"] if resume else []
        name = f"experiment_name={folder}-{tmp_path.name}-{next(count)}"
        training.train(
            training.parser(None).parse_args([*arguments, "--cfg-options", name, *options])
        )
        return [line["lr"] for line in logged(tmp_path / folder) if "lr" in line]

    return go


@pytest.mark.slow
def test_changes_are_followed(run: Run, tmp_path: Path) -> None:
    run("train_cfg.max_epochs=2")
    shutil.copytree(tmp_path / "run", tmp_path / "batch")
    whole = run("train_cfg.max_epochs=4", folder="whole")
    # a longer schedule, at the rates that the whole run has in these epochs
    longer = run("train_cfg.max_epochs=4", resume=True)
    torch.testing.assert_close(torch.tensor(longer), torch.tensor(whole[4:]))
    # half the batch and a tenth of the rate: twice the steps per epoch, and the schedule ends
    other = ("train_dataloader.batch_size=2", "optim_wrapper.optimizer.lr=1e-4")
    halved = run("train_cfg.max_epochs=4", *other, resume=True, folder="batch")
    expected = run("train_cfg.max_epochs=4", *other, folder="small")
    assert len(halved) == 8 and max(halved) < 1e-4
    torch.testing.assert_close(torch.tensor(halved), torch.tensor(expected[8:]))
    state = torch.load(tmp_path / "batch/epoch_4.pth", weights_only=False)
    assert state["meta"]["iter"] == 16 and state["meta"]["processes"] == 1

    with pytest.raises(UserError, match=r"is finished: 4 of 4 epochs. Set a larger"):
        run("train_cfg.max_epochs=4", resume=True)
    with pytest.raises(UserError, match=r"holds another run \(epoch_4\.pth\): go on with it by"):
        run("train_cfg.max_epochs=4")
    with pytest.raises(UserError, match="trained by AdamW, the config says SGD"):
        run("train_cfg.max_epochs=5", "optim_wrapper.optimizer.type=SGD", resume=True)


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_in_one(run: Run, tmp_path: Path) -> None:
    """Epochs, images seen and rates are those of a run that had one process from the start."""
    batch = ("train_dataloader.batch_size=2", "train_cfg.max_epochs=4")
    programs.run(
        ROOT / "tools/dist_train.sh", tmp_path / "config.py", "2", "--work-dir",
        tmp_path / "run", "--cfg-options", "train_dataloader.batch_size=2",
        "train_cfg.max_epochs=2", PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin",
    )  # fmt: skip
    state = torch.load(tmp_path / "run/epoch_2.pth", weights_only=False)
    assert (state["meta"]["iter"], state["meta"]["processes"]) == (4, 2)
    alone = run(*batch, resume=True)
    expected = run(*batch, folder="whole")
    assert len(alone) == 8
    torch.testing.assert_close(torch.tensor(alone), torch.tensor(expected[8:]))
    state = torch.load(tmp_path / "run/epoch_4.pth", weights_only=False)
    assert (state["meta"]["iter"], state["meta"]["processes"]) == (16, 1)


def test_iterations_of_another_size_are_refused_with_the_mend() -> None:
    config = Config(dict(train_dataloader=dict(batch_size=4)))
    change = dict(old=dict(train_dataloader=dict(batch_size=4)), config=config, by_epoch=False)
    assert resume._batch_change(before=1, now=1, **change) == []
    with pytest.raises(UserError, match=r"of 16 images on 4 process.*batch_size=8"):
        resume._batch_change(before=4, now=2, **change)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["train_dataloader.batch_size=64"], r"8 image\(s\), fewer than .*batch_size=64"),
        (["train_dataloader.batch_size=7", "train_dataloader.drop_last=False"],
         r"last batch of an epoch \(8 images per process in batches of 7"),
        (["train_dataloader.batch_size=1"], r"batch_size=1 has a single image, of which the batch"),
        (["default_hooks.checkpoint.intervall=3"], r"no such argument: did you mean 'interval'"),
        (["default_hooks.chekpoint.interval=3"],
         r"no hook that every run has: did you mean 'checkpoint'"),
        (["param_scheduler.0.eta_mn=0.1"], r"param_scheduler\.0 .*eta_mn"),
        (["param_scheduler.0.end=9"], r"ends at 9, and train_cfg\.max_epochs is 2"),
    ],
)  # fmt: skip
def test_what_would_end_the_run_later_is_found_at_start(
    run: Run, options: list[str], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        run(*options)
